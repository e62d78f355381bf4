"""Everything but the model for training with `model.fit`: data, optimizer, metrics, callbacks."""

from keras_griffin.files.folder_lock import FolderInUse
from keras_griffin.models.training.optimizer import AdamW, optimizer_groups
from keras_griffin.training.checkpoint import BestCheckpoint
from keras_griffin.training.data.byte_windows import HeldOutWindows, RandomWindows
from keras_griffin.training.data.chats import read_chats
from keras_griffin.training.data.consecutive_chunks import ConsecutiveChunks
from keras_griffin.training.data.packing import PackedDocuments, PackedStream
from keras_griffin.training.data.rest_of_epoch import RestOfEpoch
from keras_griffin.training.data.token_file import TokenFile, write_token_file
from keras_griffin.training.interruption import Interrupted, Terminated
from keras_griffin.training.memory import retain_memory
from keras_griffin.training.metrics import BitsPerByte, RowAccuracy, Tokens, token_byte_counts
from keras_griffin.training.numerics.numerics_monitor import NumericsMonitor
from keras_griffin.training.pace import Stopwatch
from keras_griffin.training.recipe import default_learning_rate, default_optimizer
from keras_griffin.training.resuming.resume import ResumableRun
from keras_griffin.training.schedule import warm_up_then_constant, warm_up_then_cosine
from keras_griffin.training.tokens_per_second import TokensPerSecond

__all__ = [
    "AdamW",
    "BestCheckpoint",
    "BitsPerByte",
    "ConsecutiveChunks",
    "FolderInUse",
    "HeldOutWindows",
    "NumericsMonitor",
    "Interrupted",
    "PackedDocuments",
    "PackedStream",
    "RandomWindows",
    "RestOfEpoch",
    "ResumableRun",
    "RowAccuracy",
    "Stopwatch",
    "Terminated",
    "TokenFile",
    "Tokens",
    "TokensPerSecond",
    "default_learning_rate",
    "default_optimizer",
    "optimizer_groups",
    "read_chats",
    "retain_memory",
    "token_byte_counts",
    "warm_up_then_constant",
    "warm_up_then_cosine",
    "write_token_file",
]
__dir__ = __all__.copy
