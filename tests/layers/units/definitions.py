"""A unit against its equations, written out in NumPy and float64: values, final state and gradients."""

import keras
import numpy as np
from keras import ops

from keras_griffin.backends import WITH_GRADIENTS
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient

BATCH, LENGTH, WIDTH = 2, 9, 6


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def built(layer, scale=0.5, width=WIDTH):
    """The layer with weights large enough that every term matters."""
    layer.build((None, None, width))
    generator = np.random.default_rng(0)
    for weight in layer.weights:
        weight.assign(as_array(weight) + scale * generator.normal(size=weight.shape))
    return layer


def named(layer, arrays=None):
    """The weights, or arrays in their order, by their paths within the layer, in float64."""
    arrays = [as_array(weight) for weight in layer.weights] if arrays is None else arrays
    paths = [weight.path.removeprefix(f"{layer.name}/") for weight in layer.weights]
    return {path: np.asarray(array, "float64") for path, array in zip(paths, arrays, strict=True)}


def run(step, weights, inputs, state, reset, mask):
    """Outputs and final state of `step(weights, x, state) -> (output, state)`, one step after the other.

    At a reset the state becomes zeros; a masked step keeps it, and outputs zeros.
    """
    outputs = []
    for t in range(inputs.shape[1]):
        start = [np.where(_rows(reset[:, t], part), 0.0, part) for part in state]
        output, after = step(weights, np.where(mask[:, t, None], inputs[:, t], 0.0), start)
        state = [np.where(_rows(mask[:, t], old), new, old) for new, old in zip(after, state, strict=True)]
        outputs.append(np.where(mask[:, t, None], output, 0.0))
    return np.stack(outputs, axis=1), state


def _rows(mark, like):
    return mark.reshape(-1, *[1] * (like.ndim - 1))


def example(layer):
    """Inputs with NaN where nothing may be read, a state, and both marks."""
    generator = np.random.default_rng(1)
    inputs = generator.normal(size=(BATCH, LENGTH, WIDTH)).astype("float32")
    state = [generator.normal(size=part.shape).astype("float32") for part in layer.initial_state(BATCH)]
    reset, mask = generator.random((BATCH, LENGTH)) < 0.25, generator.random((BATCH, LENGTH)) < 0.8
    return np.where(mask[..., None], inputs, np.float32(np.nan)), state, reset, mask


def check_equations(layer, step):
    """Outputs, final state and, where the backend has them, gradients."""
    _check_values(layer, step)
    if keras.backend.backend() in WITH_GRADIENTS:
        _check_gradients(layer, step)


def _check_values(layer, step):
    inputs, state, reset, mask = example(layer)
    outputs, last = layer.advance(inputs, layer.state_type(*state), reset=reset, mask=mask)
    expected, expected_last = run(step, named(layer), inputs, state, reset, mask)
    assert_close(as_array(outputs) * mask[..., None], expected)
    for part, expected_part in zip(last, expected_last, strict=True):
        assert_close(part, expected_part)


def _check_gradients(layer, step):
    """The derivatives along a random direction of each argument, against central differences in float64."""
    inputs, state, reset, mask = example(layer)
    inputs = np.where(mask[..., None], inputs, 0.0).astype("float32")
    weights = [as_array(weight) for weight in layer.weights]
    generator = np.random.default_rng(2)
    target = generator.normal(size=(BATCH, LENGTH, layer.compute_output_shape(inputs.shape)[-1])) * mask[..., None]
    of_state = [generator.normal(size=part.shape) for part in state]

    def loss(inputs, *others):
        values, start = others[: len(weights)], others[len(weights) :]
        with keras.StatelessScope(state_mapping=list(zip(layer.weights, values, strict=True))):
            outputs, last = layer.advance(inputs, layer.state_type(*start), reset=reset, mask=mask)
            outputs = ops.where(mask[..., None], outputs, ops.zeros_like(outputs))
            weighted = zip((outputs, *last), (target, *of_state), strict=True)
            return sum(ops.sum(part * ops.convert_to_tensor(weight, "float32")) for part, weight in weighted)

    def definition(inputs, *others):
        values, start = others[: len(weights)], list(others[len(weights) :])
        outputs, last = run(step, named(layer, values), inputs, start, reset, mask)
        return np.sum(outputs * target) + sum(np.sum(part * w) for part, w in zip(last, of_state, strict=True))

    arrays = [inputs, *weights, *state]
    _, gradients = value_and_gradient(loss, *arrays)
    exact = [array.astype("float64") for array in arrays]
    names = ["inputs", *named(layer), *layer.state_type._fields]
    for index, (name, array) in enumerate(zip(names, exact, strict=True)):
        direction = generator.normal(size=array.shape)
        sides = [[*exact[:index], array + h * direction, *exact[index + 1 :]] for h in (1e-5, -1e-5)]
        expected = (definition(*sides[0]) - definition(*sides[1])) / 2e-5
        actual = np.sum(gradients[index].astype("float64") * direction)
        scale = max(1.0, np.abs(gradients[index]).max(initial=0.0) * np.sqrt(array.size))
        assert abs(actual - expected) <= 2e-5 * scale, (name, actual, expected)
