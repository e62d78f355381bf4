"""Checkpoints of other implementations as presets."""

from pathlib import Path

from keras_griffin.conversion.checkpoint import is_checkpoint, open_checkpoint
from keras_griffin.conversion.mamba import is_mamba, load_mamba_as
from keras_griffin.conversion.recurrentgemma import load_recurrentgemma
from keras_griffin.conversion.rwkv import is_rwkv, load_rwkv_as
from keras_griffin.models import Griffin, LanguageModel
from keras_griffin.models.saving.preset_files import PresetFormat


def load_as_preset(path: Path, cls: type, dtype, name: str | None, overrides: dict, verify: bool) -> LanguageModel:
    """Load a checkpoint for `from_preset`; it has no checksums to verify.

    The tensors' names tell the family.

    Raises:
        ValueError: `from_preset` was called on a class that a Griffin is not.
    """
    tensors = open_checkpoint(path)
    family = "Mamba" if is_mamba(tensors) else "RWKV-4" if is_rwkv(tensors) else "RecurrentGemma"
    if not issubclass(Griffin, cls):
        raise ValueError(f"from_preset: a checkpoint of {family} is a Griffin. Got {cls.__name__}.from_preset.")
    if family == "RecurrentGemma":
        return load_recurrentgemma(path, dtype, name=name, **overrides)
    load = load_mamba_as if family == "Mamba" else load_rwkv_as
    return load(Griffin, path, dtype, name=name, **overrides)


CHECKPOINT = PresetFormat(is_checkpoint, load_as_preset)
