"""Layers that move information along time, and can replace one another.

Each is a `SequenceLayer` with three more members, by which a `GriffinConfig` speaks of it: the class method
`for_model(config, **kwargs)`, and the static methods `parameter_count(config)` and
`cache_bytes(config, context_length, item_bytes)`, which say what it needs without making it.
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
