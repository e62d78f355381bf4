"""The paper's three families: they differ in the mixer alone."""

import keras

from keras_griffin.models.config import GriffinConfig
from keras_griffin.models.language_model import LanguageModel
from keras_griffin.models.presets import find_preset


@keras.saving.register_keras_serializable("keras_griffin")
class Griffin(LanguageModel):
    """Recurrent blocks and local attention, in the pattern that the config gives.

    The arguments are those of `LanguageModel`.

    Examples:
        >>> from keras_griffin.models import Griffin, GriffinConfig
        >>> model = Griffin(GriffinConfig(vocabulary_size=256, width=32, num_layers=3, num_heads=2, window=8))
        >>> model.count_params() == model.config.parameter_count()
        True

    Reference: De et al. 2024 (arXiv 2402.19427), section 2.
    """

    @classmethod
    def from_preset(cls, preset: str, *, dtype=None, name=None, **overrides) -> "Griffin":
        """A model of a named size, with random weights.

        Args:
            preset: a name from `keras_griffin.models.presets()`.
            dtype: a dtype or a policy for every layer.
            name: the model's name.
            **overrides: `GriffinConfig` fields that replace the preset's.

        Returns:
            The model.

        Raises:
            ValueError: there is no such preset, or an override is no field.
        """
        return cls(find_preset(preset).replace(**overrides), dtype=dtype, name=name)


@keras.saving.register_keras_serializable("keras_griffin")
class Hawk(Griffin):
    """Recurrent blocks alone: the config's pattern is replaced.

    The arguments are those of `LanguageModel`.

    Reference: De et al. 2024 (arXiv 2402.19427), section 2.
    """

    def __init__(self, config: GriffinConfig, **kwargs):
        super().__init__(_with_pattern(config, "recurrent"), **kwargs)


@keras.saving.register_keras_serializable("keras_griffin")
class MQATransformer(Griffin):
    """Global multi-query attention alone, the paper's baseline: the config's pattern is replaced.

    The arguments are those of `LanguageModel`.

    Reference: De et al. 2024 (arXiv 2402.19427), section 3.1.
    """

    def __init__(self, config: GriffinConfig, **kwargs):
        super().__init__(_with_pattern(config, "global_mqa"), **kwargs)


def _with_pattern(config: GriffinConfig | dict, mixer_name: str) -> GriffinConfig:
    config = GriffinConfig(**config) if isinstance(config, dict) else config
    return config.replace(block_pattern=(mixer_name,))
