"""Multiple devices: how parameters, batches and sequences are divided over them."""

from keras_griffin.distribution.data_parallel import data_parallel
from keras_griffin.distribution.fully_shard import fully_shard
from keras_griffin.distribution.gathered import gathered
from keras_griffin.distribution.layout_map import layout_map
from keras_griffin.distribution.local_rows import LocalRows
from keras_griffin.distribution.sequence_parallel import sequence_parallel
from keras_griffin.distribution.time_along import time_along

__all__ = [
    "LocalRows",
    "data_parallel",
    "fully_shard",
    "gathered",
    "layout_map",
    "sequence_parallel",
    "time_along",
]
__dir__ = __all__.copy
