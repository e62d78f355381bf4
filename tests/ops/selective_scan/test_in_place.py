"""A step of the loops and of their gradient, against the reference; the loops are rows of `test_rows.py`."""

import numpy as np
from keras import ops

from keras_griffin.ops.selective_scan.in_place import advance, output, retreat
from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs
from keras_griffin.ops.selective_scan.reference import definition, selective_scan_gradient
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close

B, D, N = 2, 3, 4
GENERATOR = np.random.default_rng(0)
SHAPES = (B, 1, D), (B, 1, D), (D, N), (B, 1, N), (B, 1, N)
SELECTION = SelectiveScanInputs(*(GENERATOR.uniform(-0.5, 0.5, shape).astype("float32") for shape in SHAPES))
START, INTO_STATE = GENERATOR.normal(size=(2, B, D, N)).astype("float32")
INTO_OUTPUTS = GENERATOR.normal(size=(B, 1, D)).astype("float32")


def test_a_step_and_its_gradient():
    # The past of the first row is spoiled, and forgotten.
    start = START.copy()
    start[0] = np.nan
    forgets = np.array([True, False])
    outputs, state = definition(SELECTION, start, reset=forgets[:, None])
    into, into_start = selective_scan_gradient(SELECTION, start, (INTO_OUTPUTS, INTO_STATE), reset=forgets[:, None])
    u, s, b, c = (ops.convert_to_tensor(x[:, 0]) for x in SELECTION if x is not SELECTION.rates)
    step, rates = SelectiveScanInputs(u, s, None, b, c), ops.transpose(SELECTION.rates)
    forgets, into_output = ops.convert_to_tensor(forgets[:, None, None]), ops.convert_to_tensor(INTO_OUTPUTS[:, 0])
    before, gradient = (ops.swapaxes(x, 1, 2) for x in (start, INTO_STATE))
    now = advance(rates, before, step, forgets)
    assert_close(as_array(now).swapaxes(1, 2), state, "float32")
    assert_close(output(now, step), outputs[:, 0])
    gradient, into_rates, into_step = retreat(rates, gradient, before, step, forgets, into_output)
    assert_close(as_array(gradient).swapaxes(1, 2), into_start, "float32")
    assert_close(as_array(into_rates).sum(0).T, into.rates, "float32")
    expected = [x[:, 0] for x in into if x is not into.rates]
    for got, wanted in zip(into_step, expected, strict=True):
        assert_close(got, wanted)
