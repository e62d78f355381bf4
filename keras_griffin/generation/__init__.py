"""Text generation with a language model: samplers, the decoding loop, and the state as a value."""

from keras_griffin.generation.generate import generate, prefill, stream
from keras_griffin.generation.samplers import Greedy, MinP, RepetitionPenalty, Temperature, TopK, TopP
from keras_griffin.generation.scoring import bits_per_byte, perplexity, score
from keras_griffin.generation.state import LanguageModelState, concatenate
from keras_griffin.generation.state_io import load_state, register_state_type, save_state

__all__ = [
    "Greedy",
    "LanguageModelState",
    "MinP",
    "RepetitionPenalty",
    "Temperature",
    "TopK",
    "TopP",
    "bits_per_byte",
    "concatenate",
    "generate",
    "load_state",
    "perplexity",
    "prefill",
    "register_state_type",
    "save_state",
    "score",
    "stream",
]
__dir__ = __all__.copy
