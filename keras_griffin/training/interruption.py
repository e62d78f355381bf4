"""Signals as an early end of `fit`, at a moment when the model is whole."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

import keras


class Terminated(SystemExit):
    """SIGTERM arrived, and what was to be done before the end is done; the process exits with 143 as any would."""

    code: int

    def __init__(self):
        super().__init__(128 + signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C was pressed, and what was to be done before the end is done: the model is whole."""


class NotedSignals:
    """What has arrived of SIGINT (Ctrl-C) and SIGTERM.

    Attributes:
        received: the first signal's number, or None.

    Args:
        sentence: what is said when it arrives; None for nothing.
    """

    def __init__(self, sentence: str | None):
        self.received: int | None = None
        self._sentence = sentence

    def note(self, signal_number: int, frame: FrameType | None) -> None:
        """The handler; the second time it doesn't wait."""
        if self.received is not None:
            raise SystemExit(128 + signal_number) if signal_number == signal.SIGTERM else KeyboardInterrupt
        self.received = signal_number
        if self._sentence is not None:
            print(f"\n{self._sentence}", file=sys.stderr)

    def end(self) -> NoReturn:
        """End as the signal asked for.

        Raises:
            Interrupted: it was SIGINT.
            Terminated: it was SIGTERM.
        """
        raise Terminated if self.received == signal.SIGTERM else Interrupted


@contextlib.contextmanager
def noted_signals(sentence: str | None, *signal_numbers: int) -> Iterator[NotedSignals]:
    """Inside the `with` block, signals are noted, for whoever looks; the second one ends the block at once.

    Outside the main thread, where Python handles no signals, the block changes nothing.

    Args:
        sentence: what is said on standard error when the first arrives; None for nothing.
        *signal_numbers: which.

    Yields:
        The `NotedSignals`.
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


class _StopOnInterrupt(keras.callbacks.Callback):
    """Stop `fit` at the end of the batch in which it was asked for."""

    def __init__(self, noted: NotedSignals):
        super().__init__()
        self._noted = noted

    @property
    def is_asked_for(self) -> bool:
        """Whether Ctrl-C has been pressed."""
        return self._noted.received is not None

    def _stop_if_asked(self, batch_or_epoch, logs=None):
        if self.is_asked_for:
            self.model.stop_training = True

    on_train_batch_end = _stop_if_asked
    on_epoch_end = _stop_if_asked


@contextlib.contextmanager
def stop_on_interrupt(
    sentence: str = "Stopping after this batch and a validation; Ctrl-C again stops at once.",
) -> Iterator[_StopOnInterrupt]:
    """Inside the `with` block, Ctrl-C ends `fit` after the batch, with the validation and the end of an epoch.

    In the middle of a batch the optimizer may have updated half the weights, and JAX has given the old ones' memory
    away: such a model can't be saved. The block must be in the main thread. `ResumableRun` does better: it needs no
    such block, and what it saves goes on where it was stopped.

    Args:
        sentence: what is said on standard error.

    Yields:
        The callback to hand to `fit`; afterwards its `is_asked_for` says whether Ctrl-C was pressed.

    Examples:
        >>> from keras_griffin.training import stop_on_interrupt
        >>> with stop_on_interrupt() as interruption:
        ...     print(interruption.is_asked_for)  # after model.fit(..., callbacks=[interruption])
        False
    """
    with noted_signals(sentence, signal.SIGINT) as noted:
        yield _StopOnInterrupt(noted)
