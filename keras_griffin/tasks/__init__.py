"""Synthetic tasks and text corpora: NumPy only."""

from keras_griffin.tasks.induction_heads import induction_heads
from keras_griffin.tasks.selective_copying import selective_copying
from keras_griffin.tasks.task_batch import TaskBatch

__all__ = ["TaskBatch", "induction_heads", "selective_copying"]
__dir__ = __all__.copy
