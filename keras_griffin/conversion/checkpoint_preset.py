"""Checkpoints of other implementations as presets."""

from collections.abc import Callable
from pathlib import Path

from keras_griffin.conversion.checkpoint import is_checkpoint, open_checkpoint
from keras_griffin.conversion.mamba import is_mamba, load_mamba_as
from keras_griffin.conversion.recurrentgemma import load_recurrentgemma
from keras_griffin.models import Griffin, LanguageModel
from keras_griffin.models.preset_files import PresetFormat

#: Families other than RecurrentGemma: whether a checkpoint's tensors are of it, and its loader for a class.
FAMILIES: dict[str, tuple[Callable, Callable]] = {"Mamba": (is_mamba, load_mamba_as)}


def load_as_preset(path: Path, cls: type, dtype, name: str | None, overrides: dict, verify: bool) -> LanguageModel:
    """Load a checkpoint for `from_preset`; it has no checksums to verify.

    The tensors' names tell the family.

    Raises:
        ValueError: `from_preset` was called on a class that a Griffin is not.
    """
    tensors = open_checkpoint(path)
    found = (family for family, (is_of, _) in FAMILIES.items() if is_of(tensors))
    family = next(found, "RecurrentGemma")
    if not issubclass(Griffin, cls):
        raise ValueError(f"from_preset: a checkpoint of {family} is a Griffin. Got {cls.__name__}.from_preset.")
    if family in FAMILIES:
        _, load_as = FAMILIES[family]
        return load_as(Griffin, path, dtype, name=name, **overrides)
    return load_recurrentgemma(path, dtype, name=name, **overrides)


CHECKPOINT = PresetFormat(is_checkpoint, load_as_preset)
