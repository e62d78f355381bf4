"""Runs of `train` that end soon, and early."""

import os
import signal

from keras_griffin.training import Stopwatch

#: A model small enough to compile fast.
TINY = "--width 16 --layers 1 --heads 2 --window 8 --sequence-length 16 --batch-size 4 --sample-bytes 0".split()


def press_ctrl_c(monkeypatch, *, after_batches, times=1, number=signal.SIGINT):
    """Press Ctrl-C, or send another signal, when so many batches of training have ended."""

    class Interrupting(Stopwatch):
        batches = 0

        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            self.batches += 1
            if self.batches == after_batches:
                for _ in range(times):
                    os.kill(os.getpid(), number)

    monkeypatch.setattr("keras_griffin.training.Stopwatch", Interrupting)
