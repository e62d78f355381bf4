"""Layers that move information along time, and can replace one another.

Each is a `SequenceLayer` with two more members, by which a model makes it from a `GriffinConfig`: the class method
`for_model(config, **kwargs)` and the static method `parameter_count(config)`.
"""

from keras_griffin.mixers.global_mqa import GlobalMQA, GlobalMQAState
from keras_griffin.mixers.local_mqa import LocalMQA, LocalMQAState
from keras_griffin.mixers.recurrent_block import RecurrentBlock, RecurrentBlockState

#: The mixers by the name that `GriffinConfig.block_pattern` gives them.
MIXERS = {
    "recurrent": RecurrentBlock,
    "local_mqa": LocalMQA,
    "global_mqa": GlobalMQA,
}

__all__ = [
    "MIXERS",
    "GlobalMQA",
    "GlobalMQAState",
    "LocalMQA",
    "LocalMQAState",
    "RecurrentBlock",
    "RecurrentBlockState",
]
