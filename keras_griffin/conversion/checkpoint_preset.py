"""Checkpoints of other implementations as presets."""

from pathlib import Path

from keras_griffin.conversion.checkpoint import is_checkpoint
from keras_griffin.conversion.recurrentgemma import load_recurrentgemma
from keras_griffin.models import Griffin
from keras_griffin.models.preset_files import PresetFormat


def load_as_preset(path: Path, cls: type, dtype, name: str | None, overrides: dict, verify: bool) -> Griffin:
    """Load a checkpoint for `from_preset`; it has no checksums to verify.

    Raises:
        ValueError: `from_preset` was called on a class that a Griffin is not.
    """
    if not issubclass(Griffin, cls):
        raise ValueError(f"from_preset: a checkpoint of RecurrentGemma is a Griffin. Got {cls.__name__}.from_preset.")
    return load_recurrentgemma(path, dtype, name=name, **overrides)


CHECKPOINT = PresetFormat(is_checkpoint, load_as_preset)
