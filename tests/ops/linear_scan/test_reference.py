"""The reference: its definition against worked numbers, its gradient against finite differences."""

import numpy as np
import pytest

from keras_griffin.ops.linear_scan import reference

pytestmark = pytest.mark.any_backend

STEP = 1e-6


def test_the_definition_on_worked_numbers():
    decay, inputs = np.array([[[0.5], [0.5], [2.0]]]), np.array([[[1.0], [2.0], [3.0]]])
    states, final_state = reference.definition(decay, inputs, np.array([[4.0]]))
    assert states.ravel().tolist() == [3.0, 3.5, 10.0] and final_state.tolist() == [[10.0]]
    states, final_state = reference.definition(decay, inputs, np.array([[4.0]]), reverse=True)
    assert states.ravel().tolist() == [4.75, 7.5, 11.0] and final_state.tolist() == [[4.75]]


def test_reset_and_mask_on_worked_numbers():
    decay, inputs = np.ones((1, 4, 1)), np.array([[[1.0], [2.0], [3.0], [4.0]]])
    reset, mask = np.array([[False, True, True, False]]), np.array([[True, True, False, True]])
    states, _ = reference.definition(decay, inputs, np.array([[10.0]]), reset=reset, mask=mask)
    assert states.ravel().tolist() == [11.0, 2.0, 2.0, 6.0]


@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("is_complex", [False, True])
def test_the_gradient_is_that_of_finite_differences(is_complex, reverse, marked):
    generator = np.random.default_rng(3)

    def normal(*shape):
        return generator.normal(size=shape) + (1j * generator.normal(size=shape) if is_complex else 0.0)

    numbers = [normal(2, 5, 2), normal(2, 5, 2), normal(2, 2)]
    weights = [normal(2, 5, 2), normal(2, 2)]
    options = {"reverse": reverse}
    if marked:
        reset = np.array([[False, True, False, False, True], [True, True, False, False, False]])
        mask = np.array([[True, True, True, False, True], [False, True, False, True, True]])
        options |= {"reset": reset, "mask": mask}

    def loss(*numbers):
        results = reference.definition(*numbers, **options)
        return sum(np.sum(np.conj(weight) * result).real for weight, result in zip(weights, results, strict=True))

    gradients = reference.linear_scan_gradient(*numbers, *weights, **options)
    for index, gradient in enumerate(gradients):
        direction = normal(*numbers[index].shape)
        ends = []
        for sign in (1.0, -1.0):
            moved = list(numbers)
            moved[index] = numbers[index] + sign * STEP * direction
            ends.append(loss(*moved))
        slope = (ends[0] - ends[1]) / (2 * STEP)
        np.testing.assert_allclose(np.sum(np.conj(gradient) * direction).real, slope, rtol=1e-6)


def test_no_initial_state_is_zeros():
    decay, inputs, weights = np.full((1, 3, 2), 0.5), np.ones((1, 3, 2)), np.ones((1, 3, 2))
    zeros, last = np.zeros((1, 2)), np.ones((1, 2))
    for actual, expected in zip(
        (*reference.definition(decay, inputs), *reference.linear_scan_gradient(decay, inputs, None, weights, last)),
        (
            *reference.definition(decay, inputs, zeros),
            *reference.linear_scan_gradient(decay, inputs, zeros, weights, last),
        ),
        strict=True,
    ):
        np.testing.assert_array_equal(actual, expected)
