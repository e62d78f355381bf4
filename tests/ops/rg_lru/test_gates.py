"""The gates' derivative, written out, against that which the backend finds."""

import numpy as np
import pytest
from keras import ops

from keras_griffin.ops import bounded_sqrt
from keras_griffin.ops.recurrence.marks import Marks
from keras_griffin.ops.rg_lru.gates import GatedScanInputs, gates, gates_gradient
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient

B, T, D = 2, 5, 3
EXPONENT = 3.0


@pytest.mark.trainable
@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("parts", [1, 2])
def test_gates_gradient(parts, marked):
    generator = np.random.default_rng(0)
    draw = lambda *shape: generator.normal(size=shape).astype("float32")  # noqa: E731
    arrays = [draw(B, T, D) for _ in range(parts + 2)] + [3 + draw(D)] + [draw(D)] * (parts - 1)
    weights = [tuple(draw(B, T, D) for _ in range(parts)) for _ in range(2)]
    marks = Marks(*(generator.random((B, T, 1)) < share for share in (0.3, 0.7))) if marked else Marks(None, None)

    def unit_of(tensors):
        return GatedScanInputs(tuple(tensors[:parts]), *tensors[parts : parts + 3], tensors[-1] if parts == 2 else None)

    def loss(*tensors):
        results = gates(unit_of(tensors), marks, EXPONENT, "float32", bounded_sqrt)
        pairs = zip((*results[0], *results[1]), (*weights[0], *weights[1]), strict=True)
        return sum(ops.sum(ops.multiply(*pair)) for pair in pairs)

    _, expected = value_and_gradient(loss, *arrays)
    tensors = [ops.convert_to_tensor(array) for array in arrays]
    factors = [tuple(ops.convert_to_tensor(part) for part in weight) for weight in weights]
    gradient = gates_gradient(unit_of(tensors), marks, EXPONENT, "float32", *factors)
    actual = [*gradient.inputs, *gradient[1:4], *([gradient.phase] if parts == 2 else [])]
    for got, wanted in zip(actual, expected, strict=True):
        assert_close(got, wanted)
    of_rows = gates_gradient(unit_of(tensors), marks, EXPONENT, "float32", *factors, by_row=True)
    for got, wanted in zip(of_rows[3 : 3 + parts], expected[-parts:], strict=True):
        assert got.shape == (B, D)
        assert_close(ops.sum(got, 0), wanted)
