"""Multiple devices: how parameters, batches and sequences are divided over them."""

from keras_griffin.distribution import divided_time
from keras_griffin.distribution.fully_shard import fully_shard, gathered
from keras_griffin.distribution.layout_map import layout_map
from keras_griffin.distribution.local_rows import LocalRows
from keras_griffin.distribution.sequence_parallel import SequenceParallel, sequence_parallel

__all__ = [
    "LocalRows",
    "SequenceParallel",
    "divided_time",
    "fully_shard",
    "gathered",
    "layout_map",
    "sequence_parallel",
]
__dir__ = __all__.copy
