"""The reference: its definition against worked numbers, its gradient against finite differences."""

import numpy as np
import pytest

from keras_griffin.ops.log_scan import reference
from keras_griffin.ops.log_scan.log_numbers import NOTHING

pytestmark = pytest.mark.any_backend


def test_the_definition_on_worked_numbers():
    decay, inputs = np.log([[[0.5], [0.5], [2.0]]]), np.log([[[1.0], [2.0], [3.0]]])
    states, final_state = reference.definition(decay, inputs, np.log([[4.0]]))
    np.testing.assert_allclose(np.exp(states).ravel(), [3.0, 3.5, 10.0])
    np.testing.assert_allclose(np.exp(final_state), [[10.0]])


def test_reset_and_mask_on_worked_numbers():
    decay, inputs = np.zeros((1, 4, 1)), np.log([[[1.0], [2.0], [3.0], [4.0]]])
    reset, mask = np.array([[False, True, True, False]]), np.array([[True, True, False, True]])
    states, _ = reference.definition(decay, inputs, np.log([[10.0]]), reset=reset, mask=mask)
    np.testing.assert_allclose(np.exp(states).ravel(), [11.0, 2.0, 2.0, 6.0])


def test_no_initial_state_is_nothing_and_stays_so_while_nothing_comes():
    decay, nothing = np.full((1, 3, 2), -0.5), np.full((1, 2), NOTHING)
    inputs = np.stack([np.full((1, 2), -np.inf), np.full((1, 2), NOTHING), np.ones((1, 2))], axis=1)
    states, _ = reference.definition(decay, inputs)
    np.testing.assert_array_equal(states, reference.definition(decay, inputs, nothing)[0])
    np.testing.assert_array_equal(states[0, :, 0], [NOTHING, NOTHING, 1.0])


@pytest.mark.parametrize("marked", [False, True])
def test_the_gradient_is_that_of_finite_differences(marked):
    generator = np.random.default_rng(3)
    numbers = [generator.normal(size=shape) for shape in [(2, 5, 2), (2, 5, 2), (2, 2)]]
    weights = [generator.normal(size=shape) for shape in [(2, 5, 2), (2, 2)]]
    options = {}
    if marked:
        options["reset"] = np.array([[False, True, False, False, True], [True, True, False, False, False]])
        options["mask"] = np.array([[True, True, True, False, True], [False, True, False, True, True]])

    def loss(numbers):
        results = reference.definition(*numbers, **options)
        return sum(np.sum(weight * result) for weight, result in zip(weights, results, strict=True))

    gradients = reference.log_scan_gradient(*numbers, *weights, **options)
    for index, gradient in enumerate(gradients):
        step = 1e-6 * generator.normal(size=gradient.shape)
        ends = [loss([x + sign * step if i == index else x for i, x in enumerate(numbers)]) for sign in (1.0, -1.0)]
        np.testing.assert_allclose(2 * np.sum(gradient * step), ends[0] - ends[1], rtol=1e-6)
