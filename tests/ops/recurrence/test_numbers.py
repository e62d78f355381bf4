"""Numbers held as tuples, against NumPy's own."""

import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.recurrence.numbers import (
    accumulation_dtype,
    add,
    components_of,
    conjugate,
    multiply,
    number_of,
)
from keras_griffin.testing.arrays import as_array

FIRST, SECOND = np.array([1.0 + 2.0j, -0.5j]), np.array([3.0 - 1.0j, 2.0 + 4.0j])


def parts(number, count):
    return (number.real, number.imag)[:count]


@pytest.mark.parametrize("count", [1, 2])
def test_arithmetic_is_that_of_numbers(count):
    first, second = (FIRST, SECOND) if count == 2 else (FIRST.real, SECOND.real)
    for actual, expected in [
        (add(parts(first, count), parts(second, count)), first + second),
        (multiply(parts(first, count), parts(second, count)), first * second),
        (conjugate(parts(first, count)), np.conj(first)),
    ]:
        np.testing.assert_array_equal(actual, parts(expected, count))


REAL, IMAGINARY = np.array([1.0, 2.0], "float32"), np.array([3.0, 4.0], "float32")


@pytest.mark.parametrize(("number", "parts"), [(REAL, [REAL]), ((REAL, IMAGINARY), [REAL, IMAGINARY])])
def test_a_number_is_its_components(number, parts):
    components = components_of(number)
    np.testing.assert_array_equal([as_array(part) for part in components], parts)
    again = number_of(components)
    assert isinstance(again, tuple) == (len(parts) == 2)
    np.testing.assert_array_equal([as_array(part) for part in components_of(again)], parts)
    assert components_of(None) is None


def test_accumulation_is_at_least_float32():
    assert accumulation_dtype((ops.cast(REAL, "bfloat16"),)) == "float32"
    assert accumulation_dtype((REAL.astype("float64"),)) == "float64"
