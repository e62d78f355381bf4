"""Ctrl-C as an early end of `fit`, at a moment when the model is whole."""

import contextlib
import signal
import sys

import keras


class _StopOnInterrupt(keras.callbacks.Callback):
    """Stop `fit` at the end of the batch in which it was asked for.

    Attributes:
        is_asked_for: whether Ctrl-C has been pressed.
    """

    def __init__(self):
        super().__init__()
        self.is_asked_for = False

    def ask(self, signal_number, frame):
        """The handler of the signal; the second time it doesn't wait."""
        if self.is_asked_for:
            raise KeyboardInterrupt
        self.is_asked_for = True
        print("\nStopping after this batch and a validation; Ctrl-C again stops at once.", file=sys.stderr)

    def _stop_if_asked(self, batch_or_epoch, logs=None):
        if self.is_asked_for:
            self.model.stop_training = True

    on_train_batch_end = _stop_if_asked
    on_epoch_end = _stop_if_asked


@contextlib.contextmanager
def stop_on_interrupt():
    """Inside the `with` block, Ctrl-C ends `fit` after the batch, with the validation and the end of an epoch.

    In the middle of a batch the optimizer may have updated half the weights, and JAX has given the old ones' memory
    away: such a model can't be saved. The block must be in the main thread.

    Yields:
        The callback to hand to `fit`; afterwards its `is_asked_for` says whether Ctrl-C was pressed.

    Examples:
        >>> from keras_griffin.training import stop_on_interrupt
        >>> with stop_on_interrupt() as interruption:
        ...     print(interruption.is_asked_for)  # after model.fit(..., callbacks=[interruption])
        False
    """
    interruption = _StopOnInterrupt()
    previous = signal.signal(signal.SIGINT, interruption.ask)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, previous)
