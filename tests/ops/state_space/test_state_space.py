"""The contract of `state_space`: errors, a worked number, precision and memory; `test_rows.py` has the rest."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops import state_space
from keras_griffin.ops.state_space.inputs import DenseSystem, DiagonalSystem
from keras_griffin.ops.state_space.reference import definition
from keras_griffin.testing.arrays import as_array

ROOT = np.sqrt(np.arange(64) + 0.5)
#: HiPPO-LegS.
LEGS = -2.0 * np.tril(np.outer(ROOT, ROOT), -1) - np.diag(np.arange(64) + 1.0)


def largest(errors, of):
    """The largest error of a channel, the last axis, relative to its largest number."""
    axes = tuple(range(errors.ndim - 1))
    return np.max(np.abs(errors).max(axes) / np.abs(of).max(axes))


def sampled(matrix, column, step):
    """By the trapezoidal rule."""
    one = np.eye(len(column))
    a = np.linalg.solve(one - step / 2 * matrix, one + step / 2 * matrix)
    return a, np.linalg.solve(one - step / 2 * matrix, step * column)


@pytest.mark.parametrize("kind", ["legs", "lin"])
def test_systems_of_the_size_of_s4_in_single_precision(kind):
    """N = 64 over 4,096 steps, with the memories of the steps from 1e-3 to 1e-1, the longest and the shortest."""
    generator, steps = np.random.default_rng(0), np.geomspace(1e-3, 1e-1, 4)
    c, inputs = generator.normal(size=(4, 64)), generator.normal(size=(1, 4096, 4))
    if kind == "legs":
        systems = [sampled(LEGS, 2**0.5 * ROOT, step) for step in steps]
        transition, b = (np.stack([system[part] for system in systems]) for part in (0, 1))
    else:
        rates = steps[:, None] * (-0.5 + 1j * np.pi * np.arange(32))
        transition, b = np.concatenate([rates.real, rates.imag], -1), np.ones((4, 64)) * steps[:, None]
    impulse = np.zeros_like(inputs)
    impulse[:, 0] = 1.0
    transition, b, c, inputs = (x.astype("float32") for x in (transition, b, c, inputs))
    system = (DenseSystem if kind == "legs" else DiagonalSystem)(b, c, transition)
    for u in (inputs, impulse.astype("float32")):
        outputs, state = state_space(u, transition, b, c)
        expected, expected_state = definition(u, system)
        assert largest(as_array(outputs) - expected, expected) < 3e-6
    _, state = state_space(inputs, transition, b, c)
    _, expected_state = definition(inputs, system)
    error = largest(np.swapaxes(as_array(state) - expected_state, 1, 2), np.swapaxes(expected_state, 1, 2))
    assert error < 3e-6


@pytest.mark.any_backend
def test_a_worked_number():
    # Numbers 1 + 2 i, doubled and turned by a quarter.
    rates, b, c = np.array([[np.log(2.0), np.pi / 2]]), np.array([[1.0, 0.0]]), np.array([[1.0, 10.0]])
    outputs, state = definition(np.array([[[5.0]]]), DiagonalSystem(b, c, rates), np.array([[[1.0, 2.0]]]))
    np.testing.assert_allclose(state, [[[-4.0 + 5.0, 2.0]]])
    np.testing.assert_allclose(outputs, [[[21.0]]])


SHAPE = r"transition must have shape \(D, N\), with an even N, or \(D, N, N\)\. Got"
WRONG = [
    ({"transition": (3, 5)}, rf"{SHAPE} \(3, 5\)\."),
    ({"transition": (3,)}, rf"{SHAPE} \(3,\)\."),
    ({"transition": (4, 4)}, r"rates must have shape \(3, 4\) for inputs \(2, 6, 3\)\. Got \(4, 4\)\."),
    ({"transition": (3, 4, 5)}, r"transition must have shape \(3, 4, 4\) for inputs \(2, 6, 3\)\. Got \(3, 4, 5\)\."),
    ({"b": (2, 4)}, r"input_weights must have shape \(3, N\), N at least 1, for inputs \(2, 6, 3\)\. Got \(2, 4\)\."),
    ({"c": (3, 2)}, r"output_weights must have shape \(3, 4\) for inputs \(2, 6, 3\)\. Got \(3, 2\)\."),
]


@pytest.mark.any_backend
@pytest.mark.parametrize(("wrong", "sentence"), WRONG)
def test_a_wrong_shape_gets_one_sentence(wrong, sentence):
    shapes = {"inputs": (2, 6, 3), "transition": (3, 4), "b": (3, 4), "c": (3, 4)} | wrong
    with pytest.raises(ValueError, match=f"^state_space: {sentence}$"):
        state_space(*map(np.ones, shapes.values()))
    with pytest.raises(ValueError, match=rf"^state_space: {SHAPE} None\.$"):
        state_space(np.ones((2, 6, 3)), None, *(np.ones((3, 4)),) * 2)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX tells what a program needs")
def test_memory_is_a_few_arrays_like_the_inputs():
    """Every state would be 32 of them, and a kernel matrix of the row 512."""
    import jax

    inputs, weights = np.ones((1, 4096, 8), "float32"), np.ones((8, 32), "float32")

    def both(cotangent, *tensors):
        outputs, pull_back = jax.vjp(lambda *x: state_space(*x)[0], *tensors)
        return outputs, pull_back(cotangent)

    memory = jax.jit(both).lower(inputs, inputs, -0.1 * weights, weights, weights).compile().memory_analysis()
    assert 0 < memory.temp_size_in_bytes < 24 * inputs.nbytes


def test_symbolic_inputs():
    symbols = keras.Input((None, 3)), keras.Input((3, 2))
    ones = ops.ones((3, 2))
    outputs, state = state_space(symbols[0], -0.5 * ones, ones, ones, symbols[1])
    assert (outputs.shape, state.shape) == ((None, None, 3), (None, 3, 2))
    model, arrays = keras.Model(symbols, [outputs, state]), (np.ones((2, 5, 3)), np.ones((2, 3, 2)))
    for got, wanted in zip(model(arrays), state_space(arrays[0], -0.5 * ones, ones, ones, arrays[1]), strict=True):
        np.testing.assert_allclose(as_array(got), as_array(wanted), rtol=1e-5)
