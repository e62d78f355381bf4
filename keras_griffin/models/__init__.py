"""Models: stacks of mixers as Keras models."""

from keras_griffin.models.carried_model import CarriedModel
from keras_griffin.models.config import GriffinConfig
from keras_griffin.models.griffin import Griffin, Hawk, MQATransformer
from keras_griffin.models.language_model import LanguageModel, LanguageModelState
from keras_griffin.models.loss_in_pieces import LossInPieces
from keras_griffin.models.presets import presets
from keras_griffin.models.sequence_encoder import SequenceEncoder, SequenceEncoderState
from keras_griffin.models.trace import LayerTrace, Trace

__all__ = [
    "CarriedModel",
    "Griffin",
    "GriffinConfig",
    "Hawk",
    "LanguageModel",
    "LanguageModelState",
    "LayerTrace",
    "LossInPieces",
    "MQATransformer",
    "SequenceEncoder",
    "SequenceEncoderState",
    "Trace",
    "presets",
]
__dir__ = __all__.copy
