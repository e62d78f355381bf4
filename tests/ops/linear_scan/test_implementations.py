"""Every implementation that the backend can run, on every case, against the reference."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops import linear_scan, use_implementation
from keras_griffin.ops.linear_scan.reference import definition, linear_scan_gradient
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.cases import SCAN_CASES, ScanCase
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient
from tests.ops.rows import runnable

BACKEND = keras.backend.backend()


IMPLEMENTATIONS = runnable("linear_scan")
DIFFERENTIABLE = [name for name in IMPLEMENTATIONS if name != "reference"]
CALLS = [
    pytest.param(name, case, id=f"{name}-{case}") for case in SCAN_CASES for name in runnable("linear_scan", case.dtype)
]
DIFFERENTIABLE_CALLS = [call for call in CALLS if call.values[0] in DIFFERENTIABLE]


def components(number):
    return [number.real, number.imag] if np.iscomplexobj(number) else [number]


def as_argument(tensors, dtype):
    """One tensor, or a pair."""
    tensors = tuple(ops.convert_to_tensor(tensor, dtype) for tensor in tensors)
    return tensors if len(tensors) == 2 else tensors[0]


def as_number(result):
    """The real or complex array of a result of `linear_scan`."""
    return as_array(result[0]) + 1j * as_array(result[1]) if isinstance(result, tuple) else as_array(result)


def flags(case, arguments):
    return {"reset": arguments.reset, "mask": arguments.mask, "reverse": case.reverse}


def scan_case(implementation, case, arguments, decay=None, inputs=None):
    accumulation = "float64" if case.dtype == "float64" else "float32"
    decay = arguments.decay if decay is None else decay
    inputs = arguments.inputs if inputs is None else inputs
    start = arguments.initial_state
    with use_implementation("linear_scan", implementation):
        return linear_scan(
            as_argument(components(decay), case.dtype),
            as_argument(components(inputs), case.dtype),
            None if start is None else as_argument(components(start), accumulation),
            **flags(case, arguments),
        )


def assert_numbers_close(actual, expected, dtype):
    for got, wanted in zip(components(actual), components(expected), strict=True):
        assert_close(got, wanted, dtype)


@pytest.mark.parametrize(("implementation", "case"), CALLS)
def test_values(implementation, case):
    arguments = case.arguments()
    states, final_state = scan_case(implementation, case, arguments)
    expected = definition(*arguments[:3], **flags(case, arguments))
    accumulation = "float64" if case.dtype == "float64" else "float32"
    assert_numbers_close(as_number(states), expected[0], case.dtype)
    assert_numbers_close(as_number(final_state), expected[1], accumulation)
    parts = [*(states if case.is_complex else [states]), *(final_state if case.is_complex else [final_state])]
    dtypes = [keras.backend.standardize_dtype(part.dtype) for part in parts]
    assert dtypes == [case.dtype] * (len(parts) // 2) + [accumulation] * (len(parts) // 2)


@pytest.mark.trainable
@pytest.mark.parametrize(("implementation", "case"), DIFFERENTIABLE_CALLS)
def test_gradients(implementation, case):
    arguments = case.arguments()
    accumulation = "float64" if case.dtype == "float64" else "float32"
    weights = [
        [ops.convert_to_tensor(part, accumulation) for part in components(weight)]
        for weight in (arguments.states_weight, arguments.final_weight)
    ]
    numbers = [number for number in arguments[:3] if number is not None]
    arrays = [part.astype(accumulation) for number in numbers for part in components(number)]

    def loss(*tensors):
        parts = 2 if case.is_complex else 1
        decay, inputs, *start = (tensors[i : i + parts] for i in range(0, len(tensors), parts))
        with use_implementation("linear_scan", implementation):
            results = linear_scan(
                as_argument(decay, case.dtype),
                as_argument(inputs, case.dtype),
                as_argument(start[0], accumulation) if start else None,
                **flags(case, arguments),
            )
        total = 0.0
        for result, weight in zip(results, weights, strict=True):
            for part, factor in zip(result if case.is_complex else [result], weight, strict=True):
                total = total + ops.sum(ops.cast(part, accumulation) * factor)
        return total

    _, gradients = value_and_gradient(loss, *arrays)
    expected = linear_scan_gradient(*arguments[:3], *arguments[5:], **flags(case, arguments))
    expected = [part for number in expected[: len(numbers)] for part in components(number)]
    for gradient, wanted in zip(gradients, expected, strict=True):
        assert_close(gradient, wanted, case.dtype)


@pytest.mark.parametrize("implementation", DIFFERENTIABLE)
@pytest.mark.parametrize(("reverse", "has_reset"), [(False, True), (True, False)])
def test_a_length_known_only_when_the_model_runs(implementation, reverse, has_reset):
    batches = [ScanCase(length, 2).arguments()[:3] for length in (5, 2, 1, 0)]
    symbolic = [keras.Input((None, 5)), keras.Input((None, 5)), keras.Input((5,))]
    with use_implementation("linear_scan", implementation):
        reset = symbolic[1][..., 0] > 1.0 if has_reset else None
        model = keras.Model(symbolic, linear_scan(*symbolic, reset=reset, reverse=reverse)[1])
        actual = model.predict(((batch,) for batch in batches), steps=len(batches), verbose=0)
    resets = [batch[1][..., 0] > 1.0 if has_reset else None for batch in batches]
    expected = [definition(*batch, reset=mark, reverse=reverse)[1] for batch, mark in zip(batches, resets, strict=True)]
    assert_close(actual, np.concatenate(expected))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("reverse", [False, True])
def test_states_do_not_depend_on_later_steps(implementation, reverse):
    case = ScanCase(130, 3, reverse=reverse)
    arguments = case.arguments()
    later = slice(None, 70) if reverse else slice(70, None)
    earlier = slice(70, None) if reverse else slice(None, 70)
    decay, inputs = arguments.decay.copy(), arguments.inputs.copy()
    decay[:, later] = inputs[:, later] = np.nan
    states, _ = scan_case(implementation, case, arguments, decay, inputs)
    expected, _ = definition(*arguments[:3], reverse=reverse)
    assert_close(as_array(states)[:, earlier], expected[:, earlier], "float32")


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_decay_of_zero_forgets_and_a_decay_of_one_keeps_everything(implementation):
    case = ScanCase(130)
    arguments = case.arguments()
    zeros, ones = np.zeros_like(arguments.decay), np.ones_like(arguments.decay)
    states, _ = scan_case(implementation, case, arguments, decay=zeros)
    assert np.array_equal(as_array(states), arguments.inputs)
    states, _ = scan_case(implementation, case, arguments, decay=ones)
    assert_close(states, arguments.initial_state[:, None] + np.cumsum(arguments.inputs, axis=1))
