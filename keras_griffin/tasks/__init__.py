"""Synthetic tasks and text corpora: NumPy only."""

from keras_griffin.tasks.associative_recall import associative_recall
from keras_griffin.tasks.induction_heads import induction_heads
from keras_griffin.tasks.selective_copying import selective_copying
from keras_griffin.tasks.task_batch import TaskBatch

__all__ = ["TaskBatch", "associative_recall", "induction_heads", "selective_copying"]
