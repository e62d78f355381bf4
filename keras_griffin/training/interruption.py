"""End `fit` early on a signal, when the model is consistent."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

import keras


class Terminated(SystemExit):
    """SIGTERM arrived and the work before the exit is done; the process exits with 143, as usual."""

    code: int

    def __init__(self):
        super().__init__(128 + signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C was pressed and the work before the exit is done; the model is consistent."""


class NotedSignals:
    """Records SIGINT (Ctrl-C) and SIGTERM as they arrive, and prints the sentence, if any, at the first."""

    def __init__(self, sentence: str | None):
        #: The first signal's number.
        self.received: int | None = None
        self._sentence = sentence

    def note(self, signal_number: int, frame: FrameType | None) -> None:
        """The handler; a second signal ends at once."""
        if self.received is not None:
            raise SystemExit(128 + signal_number) if signal_number == signal.SIGTERM else KeyboardInterrupt
        self.received = signal_number
        if self._sentence is not None:
            print(f"\n{self._sentence}", file=sys.stderr)

    def end(self, signal_number: int | None = None) -> NoReturn:
        """Raise `Interrupted` for SIGINT, or `Terminated` for SIGTERM; by default for the one received."""
        raise Terminated if (signal_number or self.received) == signal.SIGTERM else Interrupted


@contextlib.contextmanager
def noted_signals(sentence: str | None, *signal_numbers: int) -> Iterator[NotedSignals]:
    """Inside the `with` block, the first signal is only recorded; the second one ends the block at once.

    Outside the main thread, where Python handles no signals, the block changes nothing.
    """
    noted = NotedSignals(sentence)
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    previous = {number: signal.signal(number, noted.note) for number in signal_numbers}
    try:
        yield noted
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class StopOnInterrupt(keras.callbacks.Callback):
    """Stop `fit` at the end of the batch in which Ctrl-C was pressed."""

    def __init__(self, noted: NotedSignals):
        super().__init__()
        self._noted = noted

    @property
    def is_interrupted(self) -> bool:
        """Whether Ctrl-C has been pressed."""
        return self._noted.received is not None

    def on_epoch_end(self, epoch, logs=None):
        """Stop if Ctrl-C has been pressed."""
        if self.is_interrupted:
            self.model.stop_training = True

    on_train_batch_end = on_epoch_end


@contextlib.contextmanager
def stop_on_interrupt(
    sentence: str = "Stopping after this batch and a validation; press Ctrl-C again to stop at once.",
) -> Iterator[StopOnInterrupt]:
    """Inside the `with` block, Ctrl-C ends `fit` after the current batch, with the validation and the end of an epoch.

    In the middle of a batch the optimizer may have updated half the weights, and JAX has donated the memory of the old
    ones: such a model can't be saved. The block must be in the main thread. It yields the callback to pass to `fit`;
    afterwards its `is_interrupted` tells whether Ctrl-C was pressed.
    """
    with noted_signals(sentence, signal.SIGINT) as noted:
        yield StopOnInterrupt(noted)
