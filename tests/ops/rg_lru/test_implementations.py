"""Every implementation that the backend can run, on every case, against the reference."""

from dataclasses import replace
from typing import NamedTuple

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops import rg_lru, use_implementation
from keras_griffin.ops.rg_lru.reference import definition, rg_lru_gradient
from keras_griffin.ops.rg_lru.unit import Unit
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.cases import SCAN_CASES, ScanCase
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient
from tests.ops.rows import runnable

BACKEND = keras.backend.backend()
EXPONENT = 6.0


#: Real cases at every length; complex ones where they say something new.
CASES = [*SCAN_CASES, replace(ScanCase(65, 3), has_reset=True, has_mask=True)]
CALLS = [pytest.param(name, case, id=f"{name}-{case}") for case in CASES for name in runnable("rg_lru", case.dtype)]
DIFFERENTIABLE_CALLS = [call for call in CALLS if call.values[0] != "reference"]


class Arguments(NamedTuple):
    """The arrays of a call, in double precision, and the weights of a sum of what it returns."""

    unit: Unit
    initial_state: np.ndarray | None
    marks: dict[str, np.ndarray | None]
    weights: tuple[np.ndarray, np.ndarray]


def arguments_of(case, width=5):
    """Those of the case of `linear_scan`, and what the gates want instead of a decay."""
    scan = case.arguments(width)
    generator = np.random.default_rng(1)
    logits = [case._round(2.0 * generator.normal(size=scan.inputs.shape)) for _ in range(2)]
    if case.has_mask:
        for array in logits:
            array[~scan.mask] = np.nan
    decay_parameter = generator.normal(3.0, 1.0, width)
    phase = generator.uniform(-0.5, 0.5, width) if case.is_complex else None
    channels = [x if x is None else x.astype("float32").astype("float64") for x in (decay_parameter, phase)]
    return Arguments(
        Unit(scan.inputs, *logits, *channels),
        scan.initial_state,
        {"reset": scan.reset, "mask": scan.mask},
        (scan.states_weight, scan.final_weight),
    )


def components(number):
    return [number.real, number.imag] if np.iscomplexobj(number) else [number]


def as_number(result):
    """The real or complex array of a result of `rg_lru`."""
    return as_array(result[0]) + 1j * as_array(result[1]) if isinstance(result, tuple) else as_array(result)


def call(implementation, case, marks, tensors):
    """`rg_lru` of a flat list of tensors: x, two logits, Lambda, h_0 where there is one, and the phase."""
    parts = 2 if case.is_complex else 1
    accumulated = "float64" if case.dtype == "float64" else "float32"
    inputs, rest = tensors[:parts], list(tensors[parts:])
    logits, decay_parameter = [ops.cast(x, case.dtype) for x in rest[:2]], ops.cast(rest[2], accumulated)
    start = rest[3 : 3 + parts] if case.has_initial_state else None
    phase = ops.cast(rest[-1], accumulated) if case.is_complex else None

    def number(tensors, dtype):
        tensors = tuple(ops.cast(x, dtype) for x in tensors)
        return tensors if case.is_complex else tensors[0]

    with use_implementation("rg_lru", implementation):
        return rg_lru(
            number(inputs, case.dtype),
            *logits,
            decay_parameter,
            None if start is None else number(start, accumulated),
            phase=phase,
            exponent=EXPONENT,
            **marks,
            reverse=case.reverse,
        )


def flat(case, unit, initial_state):
    """What `call` takes."""
    start = components(initial_state) if case.has_initial_state else []
    phase = [unit.phase] if case.is_complex else []
    return [*components(unit.inputs), *unit[1:4], *start, *phase]


def precision(case):
    """The case's dtype; Keras's sines and cosines are float32 on JAX."""
    return "float32" if case.is_complex and case.dtype == "float64" and BACKEND == "jax" else case.dtype


def accumulation(case):
    return "float64" if case.dtype == "float64" else "float32"


@pytest.mark.parametrize(("implementation", "case"), CALLS)
def test_values(implementation, case):
    unit, start, marks, _ = arguments_of(case)
    tensors = [ops.convert_to_tensor(x, accumulation(case)) for x in flat(case, unit, start)]
    results = call(implementation, case, marks, tensors)
    expected = definition(unit, start, EXPONENT, **marks, reverse=case.reverse)
    for result, wanted, dtype in zip(results, expected, (case.dtype, accumulation(case)), strict=True):
        for got, part in zip(components(as_number(result)), components(wanted), strict=True):
            assert_close(got, part, precision(replace(case, dtype=dtype)))
        tensors = result if case.is_complex else [result]
        assert [keras.backend.standardize_dtype(tensor.dtype) for tensor in tensors] == [dtype] * len(tensors)


@pytest.mark.trainable
@pytest.mark.parametrize(("implementation", "case"), DIFFERENTIABLE_CALLS)
def test_gradients(implementation, case):
    unit, start, marks, weights = arguments_of(case)
    factors = [ops.convert_to_tensor(part, accumulation(case)) for weight in weights for part in components(weight)]

    def loss(*tensors):
        results = call(implementation, case, marks, tensors)
        parts = [part for result in results for part in (result if case.is_complex else [result])]
        return sum(
            ops.sum(ops.cast(part, accumulation(case)) * factor) for part, factor in zip(parts, factors, strict=True)
        )

    arrays = [x.astype(accumulation(case)) for x in flat(case, unit, start)]
    _, gradients = value_and_gradient(loss, *arrays)
    into_unit, into_start = rg_lru_gradient(unit, start, EXPONENT, weights, **marks, reverse=case.reverse)
    for gradient, wanted in zip(gradients, flat(case, into_unit, into_start), strict=True):
        assert_close(gradient, wanted, precision(case))


@pytest.mark.parametrize("implementation", [name for name in runnable("rg_lru") if name != "reference"])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_length_known_only_when_the_model_runs(implementation, reverse):
    units = [arguments_of(ScanCase(length, 2)).unit for length in (5, 2, 1, 0)]
    units = [unit._replace(decay_parameter=units[0].decay_parameter) for unit in units]
    batches = [tuple(x.astype("float32") for x in unit[:3]) for unit in units]
    symbolic = [keras.Input((None, 5)) for _ in range(3)]
    with use_implementation("rg_lru", implementation):
        outputs = rg_lru(*symbolic, units[0].decay_parameter.astype("float32"), exponent=EXPONENT, reverse=reverse)[1]
        model = keras.Model(symbolic, outputs)
        actual = model.predict(((batch,) for batch in batches), steps=len(batches), verbose=0)
    expected = [definition(unit, None, EXPONENT, reverse=reverse)[1] for unit in units]
    assert_close(actual, np.concatenate(expected))
