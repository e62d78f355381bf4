"""Checkpoints of other implementations as presets."""

from pathlib import Path

from keras_griffin.conversion import mamba, mamba_family, rwkv
from keras_griffin.conversion.checkpoint import is_checkpoint, open_checkpoint
from keras_griffin.conversion.recurrentgemma import load_recurrentgemma
from keras_griffin.models import Griffin, LanguageModel
from keras_griffin.models.saving.preset_files import PresetFormat

#: By the family's name: the tensors of which one marks it, where none above does, and its loader.
FAMILIES = {
    "Mamba-2": (("backbone.layers.0.mixer.dt_bias",), mamba.MAMBA2.load),
    "Mamba": (mamba_family.NAMINGS, mamba.MAMBA.load),
    "RWKV-4": (rwkv.NAMINGS, rwkv.load_rwkv_as),
}


def load_as_preset(path: Path, cls: type, dtype, name: str | None, overrides: dict, verify: bool) -> LanguageModel:
    """Load a checkpoint for `from_preset`, of the family that its tensors mark; it has no checksums to verify."""
    tensors = open_checkpoint(path)
    found = [family for family, (marks, _) in FAMILIES.items() if any(mark in tensors for mark in marks)]
    if not issubclass(Griffin, cls):
        family = found[0] if found else "RecurrentGemma"
        raise ValueError(f"from_preset: a checkpoint of {family} is a Griffin. Got {cls.__name__}.from_preset.")
    if not found:
        return load_recurrentgemma(path, dtype, name=name, **overrides)
    _, load = FAMILIES[found[0]]
    return load(Griffin, path, dtype, name, overrides)


CHECKPOINT = PresetFormat(is_checkpoint, load_as_preset)
