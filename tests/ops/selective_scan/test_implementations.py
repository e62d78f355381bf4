"""What every implementation must do beside the calls of `tests/ops/test_rows.py`."""

import numpy as np
import pytest
from keras import ops

from keras_griffin.ops import selective_scan, use_implementation
from keras_griffin.ops.selective_scan.cases import SelectiveCase
from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs
from keras_griffin.ops.selective_scan.reference import definition
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from tests.ops.rows import runnable

IMPLEMENTATIONS = runnable("selective_scan")


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_outputs_do_not_depend_on_later_steps(implementation):
    case = SelectiveCase(65, has_initial_state=False)
    arrays = [argument.values.astype("float32") for argument in case.arguments()]
    expected, _ = definition(SelectiveScanInputs(*arrays))
    for array in arrays:
        if array.ndim == 3:
            array[:, 40:] = np.nan
    with use_implementation("selective_scan", implementation):
        outputs, _ = selective_scan(*map(ops.convert_to_tensor, arrays))
    assert_close(as_array(outputs)[:, :40], expected[:, :40], "float32")
