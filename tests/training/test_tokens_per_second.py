import keras
import numpy as np
import pytest

from keras_griffin.training import BitsPerByte, HeldOutWindows, RandomWindows, Tokens, TokensPerSecond
from keras_griffin.training import tokens_per_second as module
from tests.training.clock import Clock

TEXT = np.random.default_rng(0).integers(256, size=1000, dtype="uint8")
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def small_model(*metrics):
    model = keras.Sequential(
        [keras.Input((None,), dtype="int32"), keras.layers.Embedding(256, 4), keras.layers.Dense(256)]
    )
    model.compile("sgd", LOSS, weighted_metrics=list(metrics))
    return model


def fitted(model, data, clock, **options):
    """The history of a fit; the callback that counts is asked first, so that a batch's time is after its begin."""
    return model.fit(data, shuffle=False, callbacks=[TokensPerSecond(), clock], verbose=0, **options).history


@pytest.mark.trainable
@pytest.mark.parametrize("validated", [False, True])
@pytest.mark.slow
def test_compilation_and_validation_are_left_out(clock, validated):
    held_out = HeldOutWindows(TEXT[:100], 8, 4) if validated else None
    windows = RandomWindows(TEXT, 8, 4, num_batches=5)
    history = fitted(small_model(Tokens()), windows, clock, epochs=2, validation_data=held_out)
    # 32 tokens in each batch of a second; the first epoch has four batches beside the one that compiles.
    assert history["tokens_per_second"] == [32.0, 32.0]
    assert history["tokens"] == [160.0, 160.0]


@pytest.mark.trainable
def test_padding_is_no_token(clock):
    weights = np.zeros((20, 8), "float32")
    weights[:, :3] = 1.0
    windows = TEXT[:160].reshape(20, 8).astype("int32")
    history = fitted(small_model(Tokens()), windows, clock, y=windows, sample_weight=weights, batch_size=4)
    assert history["tokens_per_second"] == [4 * 3.0]


@pytest.mark.trainable
def test_a_model_that_does_not_count_is_refused(clock):
    message = r"TokensPerSecond: the model must be compiled with weighted_metrics=\[Tokens\(\)\]. Got .*bits_per_byte"
    with pytest.raises(ValueError, match=message):
        fitted(small_model(BitsPerByte()), RandomWindows(TEXT, 8, 4, num_batches=1), clock)
