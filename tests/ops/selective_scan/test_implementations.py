"""What every implementation must do beside the calls of `tests/ops/test_rows.py`."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops import selective_scan, use_implementation
from keras_griffin.ops.selective_scan.cases import SelectiveCase
from keras_griffin.ops.selective_scan.reference import definition
from keras_griffin.ops.selective_scan.selection import Selection
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from tests.ops.rows import runnable

IMPLEMENTATIONS = runnable("selective_scan")


@pytest.mark.parametrize("implementation", [name for name in IMPLEMENTATIONS if name != "reference"])
def test_a_length_known_only_when_the_model_runs(implementation):
    cases = [SelectiveCase(length, has_initial_state=False) for length in (5, 2, 1, 0)]
    batches = [tuple(x.values.astype("float32") for x in case.arguments()) for case in cases]
    rates = batches[0][2]
    symbolic = [keras.Input((None, size)) for size in (5, 5, 3, 3)]
    u, s, b, c = symbolic
    with use_implementation("selective_scan", implementation):
        model = keras.Model(symbolic, selective_scan(u, s, rates, b, c, reset=u[..., 0] > 1.0)[1])
        data = (((u, s, b, c),) for u, s, _, b, c in batches)
        actual = model.predict(data, steps=len(batches), verbose=0)
    expected = [definition(Selection(u, s, rates, b, c), reset=u[..., 0] > 1.0)[1] for u, s, _, b, c in batches]
    assert_close(actual, np.concatenate(expected))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_outputs_do_not_depend_on_later_steps(implementation):
    case = SelectiveCase(65, has_initial_state=False)
    arrays = [argument.values.astype("float32") for argument in case.arguments()]
    expected, _ = definition(Selection(*arrays))
    for array in arrays:
        if array.ndim == 3:
            array[:, 40:] = np.nan
    with use_implementation("selective_scan", implementation):
        outputs, _ = selective_scan(*map(ops.convert_to_tensor, arrays))
    assert_close(as_array(outputs)[:, :40], expected[:, :40], "float32")
