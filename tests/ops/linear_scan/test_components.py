"""Numbers held as tuples, against NumPy's own."""

import numpy as np
import pytest

from keras_griffin.ops.linear_scan.components import add, conjugate, multiply

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
