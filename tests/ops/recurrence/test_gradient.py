"""The gradient by a scan of any kind, here the portable one, against the closed form in float64."""

import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.linear_scan import reference
from keras_griffin.ops.recurrence import prefix
from keras_griffin.ops.recurrence.gradient import gradient_by_scan
from keras_griffin.ops.recurrence.marks import Marks, apply_marks, forgetting
from keras_griffin.ops.recurrence.numbers import LINEAR
from keras_griffin.testing.closeness import assert_close

B, T, D = 2, 6, 3


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("parts", [1, 2])
def test_it_is_the_closed_form(parts, reverse):
    rng = np.random.default_rng(0)
    arrays = [[rng.normal(size=s) for _ in range(parts)] for s in ((B, T, D), (B, T, D), (B, D), (B, T, D), (B, D))]
    reset = rng.random((B, T)) < 0.4
    decay, inputs, start, into_states, into_final = (y[0] if parts == 1 else y[0] + 1j * y[1] for y in arrays)
    options = {"reset": reset, "reverse": reverse}
    expected = reference.linear_scan_gradient(decay, inputs, start, into_states, into_final, **options)
    states, _ = reference.definition(decay, inputs, start, **options)

    marks = Marks(ops.convert_to_tensor(reset[..., None]), None)
    tensors = [tuple(ops.convert_to_tensor(x, "float32") for x in y) for y in arrays]
    decay, _ = apply_marks(tensors[0], (), marks, "float32")
    states = tuple(ops.convert_to_tensor(x, "float32") for x in reference.components(states))
    scan = lambda *arguments: prefix.scan(*arguments, LINEAR)  # noqa: E731
    results = gradient_by_scan(scan, decay, states, tensors[2], forgetting(marks), tuple(tensors[3:]), reverse)
    for actual, wanted in zip(results, expected, strict=True):
        for part, of_part in zip(actual, reference.components(wanted), strict=True):
            assert_close(part, of_part)
