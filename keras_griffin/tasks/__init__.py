"""Synthetic tasks and text corpora: NumPy only."""

from keras_griffin.tasks.associative_recall import associative_recall
from keras_griffin.tasks.induction_heads import induction_heads
from keras_griffin.tasks.list_operations import LIST_OPERATIONS_TOKENS, list_operations
from keras_griffin.tasks.phonebook import PHONEBOOK_CHARACTERS, phonebook
from keras_griffin.tasks.selective_copying import selective_copying
from keras_griffin.tasks.task_batch import TaskBatch

__all__ = [
    "LIST_OPERATIONS_TOKENS",
    "PHONEBOOK_CHARACTERS",
    "TaskBatch",
    "associative_recall",
    "induction_heads",
    "list_operations",
    "phonebook",
    "selective_copying",
]
__dir__ = __all__.copy
