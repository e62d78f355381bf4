"""Interchangeable layers that move information along time.

Each is a `keras_griffin.layers.Mixer`: the class declares, for given constructor arguments, which weights and which
state it will have. `GriffinConfig.mixer_arguments(name)` returns those arguments.
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
"""The mixers by their names in `GriffinConfig.block_pattern`."""

__all__ = [
    "MIXERS",
    "GlobalMQA",
    "GlobalMQAState",
    "LocalMQA",
    "LocalMQAState",
    "RecurrentBlock",
    "RecurrentBlockState",
]
