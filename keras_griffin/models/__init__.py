"""Models: stacks of mixers as Keras models."""

from keras_griffin.models.config import GriffinConfig
from keras_griffin.models.griffin import Griffin, Hawk, MQATransformer
from keras_griffin.models.language_model import LanguageModel
from keras_griffin.models.presets import presets
from keras_griffin.models.sequence_encoder import SequenceEncoder

__all__ = ["Griffin", "GriffinConfig", "Hawk", "LanguageModel", "MQATransformer", "SequenceEncoder", "presets"]
__dir__ = __all__.copy
