"""Scans in TensorFlow's graphs, with and without XLA, of known and unknown shapes."""

import re

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("TensorFlow's own graphs", allow_module_level=True)

import tensorflow as tf

from keras_griffin.ops import linear_scan, log_scan, use_implementation
from keras_griffin.ops.linear_scan import tensorflow_loop
from keras_griffin.ops.linear_scan.reference import linear_scan_gradient
from keras_griffin.ops.log_scan import tensorflow_loop as log_loop
from keras_griffin.ops.log_scan.reference import log_scan_gradient
from keras_griffin.testing.closeness import assert_close

B, T, D = 2, 12, 3
GENERATOR = np.random.default_rng(0)
DECAY = GENERATOR.uniform(0.5, 1.0, (B, T, D)).astype("float32")
INPUTS, WEIGHT = GENERATOR.normal(size=(2, B, T, D)).astype("float32")


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


@pytest.mark.parametrize("jit_compile", [False, True])
def test_gradients_of_log_scan_in_a_graph_of_unknown_shape(jit_compile):
    spec = tf.TensorSpec([None, None, D], tf.float32)

    @tf.function(input_signature=[spec] * 3, jit_compile=jit_compile)
    def gradients(decay, inputs, weight):
        with tf.GradientTape() as tape:
            tape.watch((decay, inputs))
            states, final_state = log_scan(decay, inputs)
            loss = tf.reduce_sum(states * weight) + tf.reduce_sum(final_state)
        return tape.gradient(loss, (decay, inputs))

    for length in (T, 1):
        arrays = [x[:, :length] for x in (DECAY, INPUTS, WEIGHT)]
        *expected, _ = log_scan_gradient(*arrays[:2], None, arrays[2], np.ones((B, D)))
        for got, wanted in zip(gradients(*arrays), expected, strict=True):
            assert_close(got, wanted)


@pytest.mark.parametrize(("scan", "compiled"), [(linear_scan, tensorflow_loop._scan), (log_scan, log_loop._run)])
def test_a_function_is_not_traced_again_for_each_length(scan, compiled):
    counts = []
    for length in (T, 2, 3, 4, 5):
        scan(DECAY[:, :length], INPUTS[:, :length])
        counts.append(compiled.experimental_get_tracing_count())
    assert counts[1] == counts[-1]


@pytest.mark.parametrize("scan", [linear_scan, log_scan])
def test_a_tape_may_be_asked_twice(scan):
    decay, inputs = tf.constant(DECAY), tf.constant(INPUTS)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch((decay, inputs))
        states, final_state = scan(decay, inputs)
        last = states[:, -1]
    from_states, from_final = (tape.gradient(result, (decay, inputs)) for result in (last, final_state))
    for got, wanted in zip(from_states, from_final, strict=True):
        assert_close(got, wanted.numpy())


@pytest.mark.parametrize(
    ("parts", "reverse", "forgets"), [(1, False, False), (1, True, True), (2, False, True), (2, True, False)]
)
def test_no_step_of_a_loop_copies_an_array(forgets, parts, reverse):
    """A copy in each of T steps would cost T squared."""
    number, start = (tf.constant(DECAY),) * parts, (tf.constant(DECAY[:, 0]),) * parts
    forgotten = tf.zeros((B, T, 1), tf.bool) if forgets else None
    assert_no_copies(tensorflow_loop._scan, number, number, start, forgotten, reverse)
    assert_no_copies(tensorflow_loop._scan_gradient, number, number, start, forgotten, (number, start), reverse)


def test_no_step_of_log_scan_copies_an_array():
    array, start, forgotten = tf.constant(DECAY), tf.constant(DECAY[:, 0]), tf.zeros((B, T, 1), tf.bool)
    assert_no_copies(log_loop._run, array, array, start, forgotten)
    assert_no_copies(log_loop._run_back, array, array, array, start, forgotten, (array, start))


def assert_no_copies(compiled, *arguments):
    text = compiled.experimental_get_compiler_ir(*arguments)(stage="optimized_hlo")
    loops = text[: text.index("\nENTRY")]
    assert "dynamic-update-slice" in loops
    assert not re.search(rf"= f32\[{B},{T},{D}\]\S* copy", loops)
