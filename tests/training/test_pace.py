import keras
import numpy as np
import pytest

from keras_griffin.training import AdamW, HeldOutWindows, RandomWindows, Stopwatch, pace
from keras_griffin.training.pace import Pace, measure_pace
from tests.training.clock import Clock

pytestmark = pytest.mark.any_backend

TEXT = np.random.default_rng(0).integers(256, size=1000, dtype="uint8")


def compiled_model(learning_rate):
    model = keras.Sequential(
        [keras.Input((8,), dtype="int32"), keras.layers.Embedding(256, 4), keras.layers.Dense(256)]
    )
    model.compile(AdamW(learning_rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def test_the_steps_fill_the_time_that_compilation_and_validations_leave_with_one_an_epoch_at_least():
    pace = Pace(start=4.0, step=0.125, validation=2.0)
    assert [pace.steps_within(seconds, epochs=10) for seconds in (64.0, 1.0)] == [320, 10]


@pytest.mark.trainable
def test_measuring_leaves_the_weights_as_they_are():
    model = compiled_model(learning_rate=0.0)
    before = [np.array(weights) for weights in model.get_weights()]
    measured = measure_pace(model, RandomWindows(TEXT, 8, 4, num_batches=3), HeldOutWindows(TEXT, 8, 4))
    assert measured.start >= 0 and measured.step > 0 and measured.validation > 0
    for weights, earlier in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weights, earlier)


@pytest.mark.trainable
def test_the_stopwatch_leaves_out_compilation_and_validation(monkeypatch):
    clock, stopwatch = Clock(), Stopwatch()
    monkeypatch.setattr(pace, "time", clock)
    held_out = HeldOutWindows(TEXT[:100], 8, 4)
    windows = RandomWindows(TEXT, 8, 4, num_batches=5)
    compiled_model(1e-3).fit(windows, epochs=3, validation_data=held_out, callbacks=[clock, stopwatch], verbose=0)
    assert clock.now > 200
    assert stopwatch.seconds_per_step == 1.0


@pytest.mark.trainable
def test_a_single_step_is_timed_with_its_compilation():
    stopwatch = Stopwatch()
    compiled_model(1e-3).fit(RandomWindows(TEXT, 8, 4, num_batches=1), callbacks=[stopwatch], verbose=0)
    assert stopwatch.seconds_per_step > 0
