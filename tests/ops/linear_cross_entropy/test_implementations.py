"""What is this op's own beside the calls of `tests/ops/test_rows.py`."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops import linear_cross_entropy, use_implementation
from keras_griffin.ops.linear_cross_entropy import chunks, reference
from keras_griffin.ops.linear_cross_entropy.cases import LossCase
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient
from tests.ops.rows import BACKEND, runnable, weights_of

pytestmark = pytest.mark.usefixtures("small_chunks")


def arguments(*sizes):
    """Inputs and table, targets, and the weights of a sum of losses."""
    case = LossCase(*sizes)
    inputs, table = (argument.values.astype("float32") for argument in case.arguments())
    targets = case.options["targets"]
    return inputs, table, targets, weights_of([targets])[0].astype("float32")


@pytest.mark.parametrize("cap", [None, 1.5])
def test_the_reference_is_what_keras_computes_from_whole_logits(cap):
    inputs, table, targets, _ = arguments(2, 65, 4, 13)
    logits = inputs @ table.T if cap is None else cap * np.tanh(inputs @ table.T / cap)
    expected = keras.losses.sparse_categorical_crossentropy(targets, ops.convert_to_tensor(logits), from_logits=True)
    assert_close(expected, reference.linear_cross_entropy(inputs, table, targets, cap))


def assert_close_or_nan(actual, expected, is_nan):
    """Fail unless `actual` is NaN where `is_nan` and close to `expected` elsewhere."""
    actual = as_array(actual)
    np.testing.assert_array_equal(np.isnan(actual), np.broadcast_to(is_nan, actual.shape))
    assert_close(np.where(is_nan, 0.0, actual), np.where(is_nan, 0.0, expected), "float32")


@pytest.mark.parametrize("name", runnable("linear_cross_entropy"))
def test_a_target_outside_the_vocabulary_is_nan(name):
    """That step alone, and with it the table, for which all steps are summed."""
    inputs, table, targets, weights = arguments(2, 65, 4, 13)
    wrong = targets.astype("int64")
    wrong[0, 0], wrong[0, 40], wrong[1, 3], wrong[1, 64] = -1, 13, 2**32, -(2**31) - 1
    unknown = wrong != targets

    def losses_of(inputs, table):
        with use_implementation("linear_cross_entropy", name):
            return linear_cross_entropy(inputs, table, wrong, soft_cap=1.5)

    expected = reference.linear_cross_entropy(inputs, table, targets, 1.5)
    assert_close_or_nan(losses_of(inputs, table), expected, unknown)
    if name == "reference" or BACKEND == "numpy":
        return
    _, gradients = value_and_gradient(
        lambda *tensors: ops.sum(losses_of(*tensors) * ops.convert_to_tensor(weights)), inputs, table
    )
    expected, _ = reference.linear_cross_entropy_gradient(weights, inputs, table, targets, 1.5)
    assert_close_or_nan(gradients[0], expected, unknown[..., None])
    assert np.all(np.isnan(gradients[1]))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "uint32", "int64"])
def test_targets_of_any_integers(dtype):
    inputs, table, targets, _ = arguments(2, 3, 4, 7)
    expected, outside = reference.linear_cross_entropy(inputs, table, targets, None), np.arange(6).reshape(2, 3) == 4
    targets = np.where(outside, min(np.iinfo(dtype).max, 2**31), targets).astype(dtype)
    for given in (targets, targets.tolist(), ops.convert_to_tensor(targets)):
        assert_close_or_nan(linear_cross_entropy(inputs, table, given), expected, outside)


@pytest.mark.trainable
def test_large_logits_stay_finite():
    inputs, table, targets, weights = arguments(2, 3, 4, 5)
    inputs = 1e4 * inputs

    def loss(inputs, table):
        return ops.sum(linear_cross_entropy(inputs, table, targets) * ops.convert_to_tensor(weights))

    value, gradients = value_and_gradient(loss, inputs, table)
    assert_close(value, np.sum(weights * reference.linear_cross_entropy(inputs, table, targets, None)))
    expected = reference.linear_cross_entropy_gradient(weights, inputs, table, targets, None)
    for gradient, wanted in zip(gradients, expected, strict=True):
        assert_close(gradient, wanted)


@pytest.mark.trainable
@pytest.mark.parametrize("name", [name for name in runnable("linear_cross_entropy") if name != "reference"])
def test_gradients_of_many_chunks_are_summed_in_float32(name, monkeypatch):
    """A sum of 320 that grows by 0.8 stays at 256 in bfloat16."""
    monkeypatch.setattr(chunks, "LOGITS_AT_A_TIME", 5)
    inputs, table, targets = np.ones((1, 400, 4), "float32"), np.zeros((5, 4), "float32"), np.zeros((1, 400), "int32")

    def loss(inputs, table):
        with use_implementation("linear_cross_entropy", name):
            half = (ops.cast(tensor, "bfloat16") for tensor in (inputs, table))
            return ops.sum(linear_cross_entropy(*half, targets))

    _, (_, gradient) = value_and_gradient(loss, inputs, table)
    assert_close(gradient, np.repeat([[-320.0], [80.0], [80.0], [80.0], [80.0]], 4, axis=1), "bfloat16")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"table": np.ones((7, 5), "float32")}, "inputs must have shape .B, T, D. and the table .V, D.. Got .*7, 5"),
        ({"inputs": np.ones((3, 4), "float32")}, "inputs must have shape"),
        (
            {"targets": np.ones((3, 3), "int32")},
            "targets must be integers, one for each step, shape .3, 2.. Got dtype int32",
        ),
        ({"targets": np.ones((3, 2), "float32")}, "targets must be integers, .* Got dtype float32"),
        ({"inputs": np.ones((3, 2, 4), "int32")}, "inputs must have a real floating dtype. Got int32"),
        ({"table": np.ones((7, 4), "float16")}, "inputs and table must have the same dtype. Got float32 and float16"),
        ({"soft_cap": 0.0}, "soft_cap must be positive and finite, or None. Got 0.0"),
        ({"soft_cap": float("inf")}, "soft_cap must be positive and finite, or None. Got inf"),
    ],
)
def test_wrong_arguments(changes, rule):
    inputs, table, targets, _ = arguments(3, 2, 4, 7)
    with pytest.raises(ValueError, match=f"linear_cross_entropy: {rule}"):
        linear_cross_entropy(**{"inputs": inputs, "table": table, "targets": targets, **changes})
