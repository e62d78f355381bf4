"""What every implementation must do beside the calls of `tests/ops/test_rows.py`."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.implementation import use_implementation
from keras_griffin.ops.local_attention.cases import PLAIN, with_marks
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient
from tests.ops.rows import runnable, weights_of

#: With heads wide enough for every kernel, and a name for the tests.
WIDE = {name: replace(PLAIN[name], channels=16) for name in ("one block", "blocks", "blocks after history")}
IMPLEMENTATIONS = [name for name in runnable("local_attention", (3, 65, 4, 16)) if name != "reference"]
pytestmark = [
    pytest.mark.parametrize("implementation", IMPLEMENTATIONS),
    # PyTorch's compiler, which FlexAttention uses even in eager mode, reads every attribute of its arguments.
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf Tensor:UserWarning"),
]


def outputs_of(implementation, case, arrays):
    with use_implementation("local_attention", implementation):
        return as_array(case.call(*(ops.convert_to_tensor(x.astype("float32")) for x in arrays))[0])


def gradients_of(implementation, case, arrays, weights):
    """Of the sum of the outputs that have a weight; those without one may be NaN."""
    weights = weights.astype("float32")

    def loss(*tensors):
        with use_implementation("local_attention", implementation):
            outputs = case.call(*tensors)[0]
        return ops.sum(ops.where(weights != 0, outputs, 0) * ops.convert_to_tensor(weights))

    return value_and_gradient(loss, *(x.astype("float32") for x in arrays))[1]


@pytest.mark.parametrize("name", WIDE)
def test_a_later_step_that_is_not_finite_spoils_later_queries_alone(implementation, name):
    """In values, and in the gradients of clean queries."""
    case = with_marks(WIDE[name])
    arrays, mask = case.seen(), case.marks["mask"]
    unseen = ~mask | (np.arange(case.span) >= 2 * case.span // 3)
    bad = [np.where(unseen[:, -x.shape[1] :, None, None], np.nan, x) for x in arrays]
    later = (unseen & mask)[:, -case.length :, None, None]
    outputs, expected = outputs_of(implementation, case, bad), case.definition(*arrays)[0]
    assert_close(np.where(later, 0, outputs), np.where(later, 0, expected), "float32")
    assert later.any() and np.isnan(outputs[later[..., 0, 0]]).all()
    if keras.backend.backend() == "numpy":
        return
    weights = np.where(unseen[:, -case.length :, None, None], 0, weights_of([expected])[0])
    gradients = gradients_of(implementation, case, bad, weights)
    for gradient, wanted in zip(gradients, case.gradients([weights], *arrays), strict=True):
        assert_close(gradient, wanted, "float32")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_query_that_sees_what_is_not_finite_is_lost(implementation, place, bad):
    case = WIDE["blocks"]
    arrays, steps = case.seen(), np.arange(case.length)
    arrays[place][:, 2] = bad
    lost = steps == 2 if place == 0 else (steps >= 2) & (steps < 2 + case.window)
    outputs = outputs_of(implementation, case, arrays)
    np.testing.assert_array_equal(np.isnan(outputs), np.broadcast_to(lost[:, None, None], outputs.shape))


def test_large_logits_do_no_harm(implementation):
    """Of equal keys, whose logits are exactly equal in whatever order a product adds: small integers, times 2^20."""
    case = WIDE["blocks"]
    query, key, value = case.seen()
    query, key = np.round(query), np.repeat(np.round(key[:, :1]), case.span, axis=1)
    expected = case.definition(0 * query, key, value)[0]
    assert_close(outputs_of(implementation, case, (2**20 * query, key, value)), expected, "float32")
