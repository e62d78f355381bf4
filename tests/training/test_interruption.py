import os
import signal
import threading

import keras
import numpy as np
import pytest

from keras_griffin.training import Interrupted, Terminated
from keras_griffin.training.interruption import noted_signals, stop_on_interrupt


class PressCtrlC(keras.callbacks.Callback):
    """Press Ctrl-C while a batch runs."""

    def __init__(self, moment, at):
        super().__init__()
        setattr(self, moment, lambda batch, logs=None: batch == at and os.kill(os.getpid(), signal.SIGINT))


class Count(keras.callbacks.Callback):
    batches = validations = epochs = 0

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1

    def on_test_end(self, logs=None):
        self.validations += 1

    def on_epoch_end(self, epoch, logs=None):
        self.epochs += 1


def fit(*callbacks):
    """Three epochs of five batches, each validated on five batches."""
    count = Count()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    data = np.ones((10, 4)), np.ones((10, 1))
    model.fit(*data, batch_size=2, epochs=3, verbose=0, validation_data=data, callbacks=[*callbacks, count])
    return count.batches, count.validations, count.epochs


@pytest.mark.trainable
@pytest.mark.parametrize(
    ("moment", "batches"), [("on_train_batch_begin", 3), ("on_train_batch_end", 3), ("on_test_batch_begin", 5)]
)
def test_fit_ends_after_the_batch_with_a_validated_epoch(moment, batches, capsys):
    with stop_on_interrupt() as interruption:
        batch = 0 if moment == "on_test_batch_begin" else 2
        assert fit(PressCtrlC(moment, batch), interruption) == (batches, 1, 1)
    assert interruption.is_interrupted
    sentence = "\nStopping after this batch and a validation; press Ctrl-C again to stop at once.\n"
    assert capsys.readouterr().err == sentence


def test_the_second_interrupt_is_raised_at_once():
    with pytest.raises(KeyboardInterrupt), stop_on_interrupt():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_signals_are_noted_and_end_as_they_ask_for(capsys):
    for number, kind in ((signal.SIGTERM, Terminated), (signal.SIGINT, Interrupted)):
        before = signal.getsignal(number)
        with pytest.raises(kind), noted_signals("Wait.", signal.SIGINT, signal.SIGTERM) as noted:
            assert noted.received is None
            os.kill(os.getpid(), number)
            assert noted.received == number
            noted.end()
        assert capsys.readouterr().err == "\nWait.\n"
        assert signal.getsignal(number) is before
    assert Terminated().code == 143


def test_the_second_sigterm_does_not_wait():
    with pytest.raises(SystemExit) as caught, noted_signals("Wait.", signal.SIGTERM):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.code == 143 and not isinstance(caught.value, Terminated)


def test_in_another_thread_nothing_changes():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work():
        with noted_signals("Wait.", signal.SIGTERM) as noted:
            seen.append((noted.received, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(None, before)]
