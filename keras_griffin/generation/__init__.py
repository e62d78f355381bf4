"""How a language model continues a text: samplers, and the loop that asks for one token after another."""

from keras_griffin.generation.generate import generate, stream
from keras_griffin.generation.samplers import Greedy, Temperature, TopK, TopP

__all__ = ["Greedy", "Temperature", "TopK", "TopP", "generate", "stream"]
