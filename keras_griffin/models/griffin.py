"""The paper's three families, which differ only in their mixers."""

import os
from pathlib import Path
from typing import Any

import keras

from keras_griffin.models.config import GriffinConfig
from keras_griffin.models.hub import SCHEME, download
from keras_griffin.models.language_model import LanguageModel
from keras_griffin.models.preset_files import load_path
from keras_griffin.models.presets import find_preset, presets


@keras.saving.register_keras_serializable("keras_griffin")
class Griffin(LanguageModel):
    """Recurrent blocks and local attention, in the config's pattern.

    The arguments are those of `LanguageModel`.

    Examples:
        >>> from keras_griffin.models import Griffin, GriffinConfig
        >>> model = Griffin(GriffinConfig(vocabulary_size=256, width=32, num_layers=3, num_heads=2, window=8))
        >>> model.count_params() == model.config.parameter_count()
        True

    Reference: De et al. 2024 (arXiv 2402.19427), section 2.
    """

    @classmethod
    def from_preset(
        cls,
        preset: str | os.PathLike,
        *,
        dtype: str | keras.DTypePolicy | None = None,
        name: str | None = None,
        verify: bool = True,
        **overrides: Any,
    ) -> "Griffin":
        """A model of a named size, with random weights, or a saved one.

        Args:
            preset: a name from `keras_griffin.models.presets()`; or a folder written by `save_to_preset`; or a
                checkpoint that `keras_griffin.conversion.load_recurrentgemma` reads; or `"hf://owner/name"`, either of
                those two, downloaded from the Hugging Face Hub.
            dtype: a dtype or a policy for every layer; None for the saved one, or else Keras's.
            name: the model's name.
            verify: whether to compare the files of a folder written by `save_to_preset` with their checksums as they
                are read; folders of earlier versions have none.
            **overrides: `GriffinConfig` fields that replace the preset's. With saved weights, only fields that don't
                change a variable's shape, such as `window`.

        Returns:
            The model. A folder with a saved `Hawk` gives a `Hawk`, even if this is called on `Griffin`.

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
            return load_path(download(text), cls, dtype, name, overrides, verify)
        # Also a broken link.
        if text not in presets() and os.path.lexists(text):
            return load_path(Path(text), cls, dtype, name, overrides, verify)
        return cls(find_preset(text).replace(**overrides), dtype=dtype, name=name)


@keras.saving.register_keras_serializable("keras_griffin")
class Hawk(Griffin):
    """Recurrent blocks only; the config's pattern is replaced.

    The arguments are those of `LanguageModel`.

    Reference: De et al. 2024 (arXiv 2402.19427), section 2.
    """

    def __init__(self, config: GriffinConfig, **kwargs: Any):
        super().__init__(_with_pattern(config, "recurrent"), **kwargs)


@keras.saving.register_keras_serializable("keras_griffin")
class MQATransformer(Griffin):
    """Global multi-query attention only, the paper's baseline; the config's pattern is replaced.

    The arguments are those of `LanguageModel`.

    Reference: De et al. 2024 (arXiv 2402.19427), section 3.1.
    """

    def __init__(self, config: GriffinConfig, **kwargs: Any):
        super().__init__(_with_pattern(config, "global_mqa"), **kwargs)


def _with_pattern(config: GriffinConfig | dict, mixer_name: str) -> GriffinConfig:
    config = GriffinConfig(**config) if isinstance(config, dict) else config
    return config.replace(block_pattern=(mixer_name,))
