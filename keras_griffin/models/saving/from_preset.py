"""`from_preset`: a model of a named size, or a saved one."""

import os
from pathlib import Path
from typing import Any

import keras

from keras_griffin.models.presets import TRAINED, find_preset, presets
from keras_griffin.models.saving.hub import SCHEME, download
from keras_griffin.models.saving.preset_files import load_path


def from_preset(
    cls: type,
    preset: str | os.PathLike,
    *,
    dtype: str | keras.DTypePolicy | None = None,
    name: str | None = None,
    verify: bool = True,
    **overrides: Any,
) -> keras.Model:
    """A model of a named size, or a saved one.

    Args:
        preset: a name from `keras_griffin.models.presets()`: `"python_tiny"` is a trained model, the other sizes have
            random weights; or a folder written by `save_to_preset`; or a checkpoint that a loader of
            `keras_griffin.conversion` reads; or `"hf://owner/name"`, either of those two from the Hugging Face Hub.
        dtype: a dtype or a policy for every layer; None for the saved one, or else Keras's.
        name: the model's name.
        verify: whether to compare the files that `save_to_preset` wrote with their checksums as they are read.
        **overrides: `GriffinConfig` fields that replace the preset's. With saved weights, only fields that don't
            change a variable's shape, such as `window`.

    Returns:
        The model. A folder with a saved `Hawk` gives a `Hawk`, even if this is called on `Griffin` or `LanguageModel`.

    Raises:
        ImportError: a package needed for this is not installed.
        OSError: the Hub can't be reached, or refuses the repository.
        ValueError: there is no such preset; the saved model has another class; its files are incomplete, changed,
            or don't match the config in size, which is checked before memory for the model is allocated; or an
            override is not a field or not possible.
    """
    if not isinstance(preset, str | os.PathLike):
        raise ValueError(f"from_preset: a preset must be a name, a path or hf://owner/name. Got {preset!r}.")
    text = os.fspath(preset)
    if text.startswith(SCHEME):
        path = download(text)
    elif text in TRAINED:
        path = TRAINED[text]
    elif text not in presets() and os.path.lexists(text):
        # Also a broken link.
        path = Path(text)
    else:
        return cls(find_preset(text).replace(**overrides), dtype=dtype, name=name)
    return load_path(path, cls, dtype, name, overrides, verify)
