"""A loss that hides no target: `next_token_losses`, `weighted_mean`, and models' `SparseCategoricalCrossentropy`."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.models.training.next_token_loss import SparseCategoricalCrossentropy, next_token_losses
from keras_griffin.testing.arrays import as_array
from keras_griffin.training import BitsPerByte

LOGITS = np.random.default_rng(0).normal(size=(2, 3, 5)).astype("float32")
TARGETS = np.array([[0, 4, 2], [3, 1, 1]])


def nats(targets, logits=LOGITS):
    """The equation, NaN where there is no such token."""
    scores = logits - np.log(np.exp(logits.astype("float64")).sum(-1, keepdims=True))
    inside = (targets >= 0) & (targets < logits.shape[-1])
    known = np.take_along_axis(-scores, np.where(inside, targets, 0)[..., None], -1)[..., 0]
    return np.where(inside, known, np.nan)


@pytest.mark.parametrize("outside", [-1, -100, 5, 2**30])
def test_a_target_outside_has_no_loss(outside):
    targets = TARGETS.copy()
    targets[1, 1] = outside
    actual = next_token_losses(ops.convert_to_tensor(targets.astype("int32")), ops.convert_to_tensor(LOGITS))
    np.testing.assert_allclose(as_array(actual), nats(targets), rtol=1e-5)
    assert np.isnan(as_array(SparseCategoricalCrossentropy()(targets, LOGITS)))
    metric = BitsPerByte(token_bytes=np.ones(5))
    metric.update_state(targets, LOGITS)
    assert np.isnan(as_array(metric.result()))


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_targets_of_any_dtype(dtype):
    # 300 logits: more than a uint8 holds.
    logits = np.random.default_rng(0).normal(size=(2, 3, 300)).astype("float32")
    targets = ops.convert_to_tensor(TARGETS.astype(dtype))[..., None]
    np.testing.assert_allclose(
        as_array(next_token_losses(targets, ops.convert_to_tensor(logits))), nats(TARGETS, logits), rtol=1e-5
    )


def test_what_has_no_weight_may_be_anything():
    weights = np.array([[1.0, 0.0, 0.5], [0.0, 2.0, 0.0]], "float32")
    targets, logits = np.where(weights > 0, TARGETS, -1), LOGITS.copy()
    logits[1, 0] = np.nan
    expected = np.average(nats(TARGETS)[weights > 0], weights=weights[weights > 0])
    loss = SparseCategoricalCrossentropy()
    assert float(loss(targets, logits, weights)) == pytest.approx(expected, rel=1e-5)
    metric = BitsPerByte()
    metric.update_state(targets, logits, weights)
    assert float(metric.result()) == pytest.approx(expected / np.log(2), rel=1e-5)
    # Keras on NumPy divides by zero before it chooses 0.
    with np.errstate(invalid="ignore"):
        assert float(loss(targets, logits, 0 * weights)) == 0.0


def test_it_is_saved_and_described_as_that_of_keras(tmp_path):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    model = Griffin(GriffinConfig(vocabulary_size=13, width=16, num_layers=1, num_heads=2, window=5, num_gate_blocks=4))
    assert type(model.loss) is SparseCategoricalCrossentropy and model.loss.get_config() == loss.get_config()
    kinds = [loss, model.loss]
    for number, kind in enumerate(kinds):
        model.compile(model.optimizer, kind)
        model.save(tmp_path / f"{number}.keras")
        assert type(keras.saving.load_model(tmp_path / f"{number}.keras").loss) is type(kind)
