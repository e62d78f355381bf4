"""What only TensorFlow asks of its implementations: graphs with and without XLA, of known and of unknown shapes."""

import re

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("TensorFlow's own graphs", allow_module_level=True)

import tensorflow as tf

from keras_griffin.ops import linear_scan, use_implementation
from keras_griffin.ops.linear_scan import tensorflow_loop
from keras_griffin.ops.linear_scan.reference import linear_scan_gradient
from keras_griffin.testing.closeness import assert_close

B, T, D = 2, 12, 3
GENERATOR = np.random.default_rng(0)
DECAY = GENERATOR.uniform(0.5, 1.0, (B, T, D)).astype("float32")
INPUTS = GENERATOR.normal(size=(B, T, D)).astype("float32")


@pytest.mark.parametrize("implementation", ["tensorflow_loop", "portable"])
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("shape", [(B, T, D), (None, None, D)], ids=["known", "unknown"])
def test_fit(implementation, jit_compile, shape):
    """The first step of gradient descent, on one weight that multiplies every decay."""
    inputs = keras.Input(batch_shape=shape)
    scale = keras.layers.EinsumDense("btd,d->btd", (*shape[1:],), kernel_initializer="ones")
    with use_implementation("linear_scan", implementation):
        model = keras.Model(inputs, linear_scan(0.5 * scale(inputs), inputs)[0])
        model.compile(
            keras.optimizers.SGD(1.0), lambda _, states: keras.ops.sum(states, (1, 2)), jit_compile=jit_compile
        )
        lengths = (T,) if shape[1] else (T, 1, 2, T - 1)
        for length in lengths:
            before = model.get_weights()[0]
            x = INPUTS[:, :length]
            model.fit(x, x, batch_size=B, verbose=0)
            ones = np.full_like(x, 1 / B)
            gradient, *_ = linear_scan_gradient(0.5 * before * x, x, None, ones, np.zeros((B, D)))
            assert_close(before - model.get_weights()[0], np.sum(gradient * 0.5 * x, (0, 1)))


def test_each_function_is_traced_once_whatever_the_shapes():
    for length in (2, 3, 4):
        linear_scan(DECAY[:, :length], INPUTS[:, :length])
    compiled = tensorflow_loop._compiled(tensorflow_loop.scan, 1, tf.float32, False, False)
    assert compiled.experimental_get_tracing_count() == 1


def test_a_tape_may_be_asked_twice():
    decay, inputs = tf.constant(DECAY), tf.constant(INPUTS)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch((decay, inputs))
        states, final_state = linear_scan(decay, inputs)
        last = states[:, -1]
    from_states, from_final = (tape.gradient(result, (decay, inputs)) for result in (last, final_state))
    for got, wanted in zip(from_states, from_final, strict=True):
        assert_close(got, wanted.numpy())


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("forgets", [False, True])
def test_no_step_of_a_loop_copies_an_array(forgets, parts, reverse):
    """A copy in each of T steps would cost T squared."""
    number, start = (tf.constant(DECAY),) * parts, (tf.constant(DECAY[:, 0]),) * parts
    marks = (tf.zeros((B, T, 1), tf.bool),) if forgets else ()
    calls = {
        tensorflow_loop.scan: (number, number, start, *marks),
        tensorflow_loop.scan_gradient: (number, number, start, *marks, (number, start)),
    }
    for function, arguments in calls.items():
        compiled = tensorflow_loop._compiled(function, parts, tf.float32, forgets, reverse)
        text = compiled.experimental_get_compiler_ir(*arguments)(stage="optimized_hlo")
        loops = text[: text.index("\nENTRY")]
        assert "dynamic-update-slice" in loops
        assert not re.search(rf"= f32\[{B},{T},{D}\]\S* copy", loops)
