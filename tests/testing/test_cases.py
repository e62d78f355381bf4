import numpy as np
import pytest

from keras_griffin.testing.cases import SCAN_CASES, ScanCase

pytestmark = pytest.mark.any_backend


def test_cases_are_distinct():
    assert len(set(map(str, SCAN_CASES))) == len(set(SCAN_CASES)) == len(SCAN_CASES)


@pytest.mark.parametrize("case", SCAN_CASES, ids=str)
def test_arguments_are_what_the_case_says(case):
    arguments = case.arguments(width=4)
    assert arguments.decay.shape == arguments.inputs.shape == arguments.states_weight.shape
    assert arguments.inputs.shape == (case.batch_size, case.length, 4)
    assert np.iscomplexobj(arguments.decay) == np.iscomplexobj(arguments.inputs) == case.is_complex
    assert (arguments.initial_state is not None) == case.has_initial_state
    assert (arguments.reset is not None) == case.has_reset and (arguments.mask is not None) == case.has_mask
    assert not case.has_reset or (arguments.reset.any() and not arguments.reset.all())
    assert not case.has_mask or (np.isnan(arguments.inputs).any() and arguments.mask.any())


def test_bfloat16_holds_the_arrays_of_its_cases():
    bits = ScanCase(8, dtype="bfloat16").arguments().inputs.astype("float32").view("uint32")
    assert not np.any(bits & 0xFFFF)


def test_arguments_follow_the_seed():
    first, same, other = (ScanCase(8).arguments(seed=seed).inputs for seed in (0, 0, 1))
    assert np.array_equal(first, same) and not np.array_equal(first, other)
