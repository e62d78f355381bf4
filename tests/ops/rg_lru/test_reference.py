"""The reference: its definition against a worked number, its gradient against finite differences."""

import numpy as np
import pytest

from keras_griffin.ops.rg_lru.reference import definition, rg_lru_gradient
from keras_griffin.ops.rg_lru.unit import Unit

pytestmark = pytest.mark.any_backend

STEP = 1e-6


def test_a_worked_number():
    # Gates of 1/2, and sigmoid(Lambda) = 1/4: with c = 2, a = 1/4 and sqrt(1 - a^2) = sqrt(15) / 4.
    zeros = np.zeros((1, 2, 1))
    unit = Unit(np.array([[[8.0], [0.0]]]), zeros, zeros, np.array([np.log(1 / 3)]), None)
    states, final_state = definition(unit, np.array([[4.0]]), 2.0)
    np.testing.assert_allclose(states.ravel(), [1 + 15**0.5, (1 + 15**0.5) / 4])
    np.testing.assert_array_equal(final_state, states[:, 1])


@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("is_complex", [False, True])
def test_the_gradient_is_that_of_finite_differences(is_complex, reverse, marked):
    generator = np.random.default_rng(3)

    def normal(*shape):
        return generator.normal(size=shape) + (1j * generator.normal(size=shape) if is_complex else 0.0)

    logits = generator.normal(size=(2, 2, 5, 2))
    unit = Unit(normal(2, 5, 2), *logits, np.array([1.0, 3.0]), np.array([0.3, -0.2]) if is_complex else None)
    start, weights, marks = normal(2, 2), (normal(2, 5, 2), normal(2, 2)), {}
    if marked:
        reset = np.array([[False, True, False, False, True], [True, True, False, False, False]])
        mask = np.array([[True, True, True, False, True], [False, True, False, True, True]])
        marks = {"reset": reset, "mask": mask}

    def loss(unit, start):
        results = definition(unit, start, 2.0, **marks, reverse=reverse)
        return sum(np.sum(np.conj(weight) * result).real for weight, result in zip(weights, results, strict=True))

    into_unit, into_start = rg_lru_gradient(unit, start, 2.0, weights, **marks, reverse=reverse)
    for index, (array, gradient) in enumerate(zip((*unit, start), (*into_unit, into_start), strict=True)):
        if array is None:
            continue
        direction = normal(*array.shape) if np.iscomplexobj(array) else generator.normal(size=array.shape)
        ends = []
        for sign in (1.0, -1.0):
            moved = [*unit, start]
            moved[index] = array + sign * STEP * direction
            ends.append(loss(Unit(*moved[:-1]), moved[-1]))
        slope = (ends[0] - ends[1]) / (2 * STEP)
        np.testing.assert_allclose(np.sum(np.conj(gradient) * direction).real, slope, rtol=1e-6, atol=1e-8)
