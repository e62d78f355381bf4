"""What every implementation must do beside the calls of `tests/ops/test_rows.py`."""

import keras
import numpy as np
import pytest

from keras_griffin.ops import rg_lru, use_implementation
from keras_griffin.ops.rg_lru.cases import UnitCase
from keras_griffin.ops.rg_lru.reference import definition
from keras_griffin.ops.rg_lru.unit import Unit
from keras_griffin.testing.closeness import assert_close
from tests.ops.rows import runnable


@pytest.mark.parametrize("implementation", [name for name in runnable("rg_lru") if name != "reference"])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_length_known_only_when_the_model_runs(implementation, reverse):
    cases = [UnitCase(length, 2, has_initial_state=False) for length in (5, 2, 1, 0)]
    *batches, decay_parameters = zip(*([x.values for x in case.arguments()] for case in cases), strict=True)
    parameter, batches = decay_parameters[0], list(zip(*batches, strict=True))
    symbolic = [keras.Input((None, 5)) for _ in range(3)]
    with use_implementation("rg_lru", implementation):
        outputs = rg_lru(*symbolic, parameter.astype("float32"), exponent=6.0, reverse=reverse)[1]
        model = keras.Model(symbolic, outputs)
        data = ((tuple(x.astype("float32") for x in batch),) for batch in batches)
        actual = model.predict(data, steps=len(batches), verbose=0)
    units = [Unit(*batch, parameter, None) for batch in batches]
    expected = [definition(unit, None, 6.0, reverse=reverse)[1] for unit in units]
    assert_close(actual, np.concatenate(expected))
