import keras
import numpy as np
import pytest

from keras_griffin.training import BitsPerByte, HeldOutWindows


def test_an_even_distribution_over_the_bytes_takes_eight_bits():
    metric = BitsPerByte()
    metric.update_state(np.zeros((2, 3), "int32"), np.full((2, 3, 256), 5.0, "float32"))
    assert float(metric.result()) == pytest.approx(8.0, abs=1e-5)


def test_the_mean_is_weighted():
    logits = np.zeros((1, 2, 4), "float32")
    logits[0, 1, 3] = 50.0
    metric = BitsPerByte()
    metric.update_state(np.array([[0, 3]]), logits, sample_weight=np.array([[1.0, 3.0]]))
    assert float(metric.result()) == pytest.approx(2.0 / 4, abs=1e-5)


def test_evaluation_over_held_out_windows_is_the_mean_over_all_bytes():
    """A table of logits for each previous byte: its bits can be written down."""
    rng = np.random.default_rng(0)
    text = rng.integers(256, size=103, dtype="uint8")
    table = rng.normal(size=(256, 256)).astype("float32")
    model = keras.Sequential([keras.Input((None,), dtype="int32"), keras.layers.Embedding(256, 256)])
    model.set_weights([table])
    model.compile(weighted_metrics=[BitsPerByte()], loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    bits = model.evaluate(HeldOutWindows(text, 8, 4), verbose=0, return_dict=True)["bits_per_byte"]
    probabilities = np.exp(table) / np.exp(table).sum(axis=1, keepdims=True)
    assert bits == pytest.approx(-np.log2(probabilities[text[:-1], text[1:]]).mean(), abs=1e-4)


def test_the_config_round_trip_rebuilds_the_metric():
    metric = keras.metrics.deserialize(keras.metrics.serialize(BitsPerByte(name="bits")))
    assert isinstance(metric, BitsPerByte)
    assert metric.name == "bits"
