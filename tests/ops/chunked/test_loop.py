"""A loop over chunks is the loop in Python, forward and backward."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.backends import WITH_GRADIENTS
from keras_griffin.ops.chunked.loop import over_chunks
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient

BACKEND = keras.backend.backend()
GENERATOR = np.random.default_rng(0)
#: The first state, the numbers of each chunk, and a matrix that all chunks share.
ARRAYS = [GENERATOR.normal(size=shape).astype("float32") for shape in ((2, 3), (5, 3), (5, 2, 3), (3, 3))]


def step(state, scale, entering, matrix):
    after = (scale * state) @ matrix + entering
    return after, (ops.square(state), after[0])


def in_python(start, scales, entering, matrix):
    state, states, results = start, [], []
    for numbers in zip(scales, entering, strict=True):
        states.append(state)
        state, found = step(state, *numbers, matrix)
        results.append(found)
    return [ops.stack(states), state, *(ops.stack(parts) for parts in zip(*results, strict=True))]


def in_a_loop(start, scales, entering, matrix):
    states, last, results = over_chunks(step, start, (scales, entering), (matrix,))
    return [states, last, *results]


@pytest.mark.parametrize("count", [1, 5])
def test_values_and_gradients(count):
    start, scales, entering, matrix = ARRAYS
    arrays = [start, scales[:count], entering[:count], matrix]
    tensors = [ops.convert_to_tensor(x) for x in arrays]
    expected = [ops.convert_to_numpy(x) for x in in_python(*tensors)]
    for result, wanted in zip(in_a_loop(*tensors), expected, strict=True):
        assert_close(result, wanted)
    if BACKEND in WITH_GRADIENTS:
        loss = lambda function: lambda *tensors: sum(ops.sum(ops.sin(x)) for x in function(*tensors))  # noqa: E731
        _, gradients = value_and_gradient(loss(in_a_loop), *arrays)
        for gradient, wanted in zip(gradients, value_and_gradient(loss(in_python), *arrays)[1], strict=True):
            assert_close(gradient, wanted)


@pytest.mark.skipif(
    BACKEND != "tensorflow", reason="TensorFlow alone has lengths that are not known, and compiles them"
)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_gradient_compiles_and_the_number_of_chunks_may_be_unknown(jit_compile):
    import tensorflow as tf

    def gradients(start, scales, entering, matrix):
        tensors = start, scales, entering, matrix
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = tf.reduce_sum(in_a_loop(*tensors)[1])
        return tape.gradient(value, tensors)

    shapes = [(2, 3), *[(None, 3), (None, 2, 3)], (3, 3)]
    specs = None if jit_compile else [tf.TensorSpec(shape, "float32") for shape in shapes]
    traced = tf.function(gradients, input_signature=specs, jit_compile=jit_compile)
    _, expected = value_and_gradient(lambda *tensors: ops.sum(in_python(*tensors)[1]), *ARRAYS)
    for gradient, wanted in zip(traced(*map(tf.constant, ARRAYS)), expected, strict=True):
        assert_close(gradient, wanted)
