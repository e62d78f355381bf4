"""Layers that move information along time, and can replace one another.

Each is a `keras_griffin.layers.Mixer`: the class says, of the arguments that it would be made with, which weights and
which state it will have. `GriffinConfig.mixer_arguments(name)` gives those arguments.
"""

from keras_griffin.layers import Mixer
from keras_griffin.mixers.global_mqa import GlobalMQA, GlobalMQAState
from keras_griffin.mixers.local_mqa import LocalMQA, LocalMQAState
from keras_griffin.mixers.recurrent_block import RecurrentBlock, RecurrentBlockState

MIXERS: dict[str, type[Mixer]] = {
    "recurrent": RecurrentBlock,
    "local_mqa": LocalMQA,
    "global_mqa": GlobalMQA,
}
"""The mixers by the name that `GriffinConfig.block_pattern` gives them."""

__all__ = [
    "MIXERS",
    "GlobalMQA",
    "GlobalMQAState",
    "LocalMQA",
    "LocalMQAState",
    "RecurrentBlock",
    "RecurrentBlockState",
]
