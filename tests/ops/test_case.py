import numpy as np
import pytest

from keras_griffin.ops.case import Case, rounded
from keras_griffin.ops.implementation import Op

pytestmark = pytest.mark.any_backend

CASES = [pytest.param(op, case, id=f"{op.name}-{case}") for op in Op.registry.values() for case in op.cases.CASES]


@pytest.mark.parametrize("op", Op.registry.values(), ids=lambda op: op.name)
def test_cases_are_distinct_and_of_several_dtypes(op):
    cases = op.cases.CASES
    assert len(set(map(str, cases))) == len(set(cases)) == len(cases)
    assert {"float32", "bfloat16"} <= {case.dtype for case in cases}


@pytest.mark.parametrize("op", Op.registry.values(), ids=lambda op: op.name)
@pytest.mark.parametrize("device", ["cpu", "gpu", "tpu"])
def test_an_op_is_timed_on_every_device(op, device):
    assert all(isinstance(case, Case) and min(case.shape) > 0 for case in op.cases.timed(device))
    assert op.cases.timed(device)


@pytest.mark.parametrize(("op", "case"), CASES)
def test_arguments_are_what_the_case_says(op, case):
    arguments = case.arguments()
    assert (case.shape, case.dtype) in [(values.shape, dtype) for values, dtype in arguments]
    for values, dtype in arguments:
        assert values.dtype == "float64"
        np.testing.assert_array_equal(rounded(values, dtype), values)
    assert np.isnan(arguments[0].values).any() == (getattr(case, "has_mask", False) and 0 not in case.shape)
    assert all(np.isfinite(result).all() for result in case.definition(*(x.values for x in arguments)))
    for again, argument in zip(case.arguments(), arguments, strict=True):
        np.testing.assert_array_equal(again.values, argument.values)


@pytest.mark.parametrize(("op", "case"), CASES)
def test_marks_mark_some_steps_and_not_all(op, case):
    marks = getattr(case, "options", getattr(case, "marks", {}))
    for name, feature in (("reset", "has_reset"), ("mask", "has_mask"), ("segment_ids", "has_segments")):
        mark = marks.get(name)
        assert (mark is not None) == getattr(case, feature, False)
        # Few marks may all be equal, and segments may be many.
        if mark is not None and mark.size > 3:
            assert len(np.unique(mark)) == 2 or (name == "segment_ids" and len(np.unique(mark)) > 2)
