"""What training a language model with `model.fit` needs beside the model: data, optimizer, metric, callbacks."""

from keras_griffin.models.optimizer import AdamW
from keras_griffin.training.byte_windows import HeldOutWindows, RandomWindows
from keras_griffin.training.checkpoint import BestCheckpoint, save_whole
from keras_griffin.training.interruption import stop_on_interrupt
from keras_griffin.training.loss_curve import draw_loss_curve
from keras_griffin.training.metrics import BitsPerByte
from keras_griffin.training.pace import Pace, Stopwatch, measure_pace
from keras_griffin.training.schedule import warm_up_then_cosine

__all__ = [
    "AdamW",
    "BestCheckpoint",
    "BitsPerByte",
    "HeldOutWindows",
    "Pace",
    "RandomWindows",
    "Stopwatch",
    "draw_loss_curve",
    "stop_on_interrupt",
    "measure_pace",
    "save_whole",
    "warm_up_then_cosine",
]
