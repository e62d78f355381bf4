"""What `tests/ops/test_rows.py` does not say of `delta_rule`: precision where it is lost easily, and errors."""

import numpy as np
import pytest
from keras import ops

from keras_griffin.ops import delta_rule
from keras_griffin.ops.delta_rule import reference
from keras_griffin.ops.delta_rule.portable import inverse_of_unit_lower
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close

B, T, G, N, H, P = 2, 65, 1, 2, 3, 5


def arrays(keys, strongest):
    """q, k of length one, v, l, b and S_0; equal keys with rates of one replace the same value at each step."""
    generator = np.random.default_rng(0)
    query, key = generator.normal(size=(2, B, T, G, H))
    key = key[:, :1] + 0.0 * key if keys == "equal" else key
    query, key = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (query, key))
    decay, rates = generator.random((2, B, T, N))
    rates = np.ones_like(rates) if keys == "equal" else rates
    value, start = generator.normal(size=(B, T, N, P)), generator.normal(size=(B, N, H, P))
    return [x.astype("float32") for x in (query, key, value, -strongest * decay, rates, start)]


@pytest.mark.parametrize("strongest", [0.0, 1.0, 100.0])
@pytest.mark.parametrize("keys", ["any", "equal"])
def test_no_key_and_no_decay_costs_digits(keys, strongest):
    given = arrays(keys, strongest)
    expected = reference.definition(*(x.astype("float64") for x in given))
    # Roundings alone: equal keys without decay give 1.2e-6 on TensorFlow, and all else 5e-7 or less.
    for result, wanted in zip(delta_rule(*map(ops.convert_to_tensor, given)), expected, strict=True):
        assert_close(result, wanted, "float32", factor=0.2)


def test_the_inverse_of_ones_is_exact():
    """Its powers have entries of 1e17."""
    lower = np.tril(np.ones((1, 64, 64), "float32"), -1)
    expected = np.eye(64)[None] - np.eye(64, k=-1)[None]
    np.testing.assert_array_equal(as_array(inverse_of_unit_lower(ops.convert_to_tensor(lower))), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": (B, T, 3, H)}, "delta_rule: the heads of key must divide those of value. Got 3 and 2."),
        ({"rates": (B, T, 1)}, r"delta_rule: rates must have shape \(2, 65, 2\) for value \(2, 65, 2, 5\)."),
        ({"key": (B, T, H)}, "delta_rule: key must have shape"),
    ],
)
def test_a_wrong_shape_is_named(change, message):
    names = ("query", "key", "value", "log_decay", "rates", "initial_state")
    given = dict(zip(names, arrays("any", 1.0), strict=True))
    given |= {name: np.ones(shape, "float32") for name, shape in change.items()}
    with pytest.raises(ValueError, match=message):
        delta_rule(**given)
