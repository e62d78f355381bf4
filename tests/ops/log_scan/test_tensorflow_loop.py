"""What only TensorFlow asks of its implementation: graphs with and without XLA, of known and of unknown shapes."""

import re

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("TensorFlow's own graphs", allow_module_level=True)

import tensorflow as tf

from keras_griffin.ops import log_scan
from keras_griffin.ops.log_scan import tensorflow_loop
from keras_griffin.ops.log_scan.reference import log_scan_gradient
from keras_griffin.testing.closeness import assert_close

B, T, D = 2, 12, 3
GENERATOR = np.random.default_rng(0)
DECAY, INPUTS, WEIGHT = (GENERATOR.normal(size=(B, T, D)).astype("float32") for _ in range(3))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_gradients_in_a_graph_of_unknown_shape(jit_compile):
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


def test_a_tape_may_be_asked_twice():
    decay, inputs = tf.constant(DECAY), tf.constant(INPUTS)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch((decay, inputs))
        states, final_state = log_scan(decay, inputs)
        last = states[:, -1]
    from_states, from_final = (tape.gradient(result, (decay, inputs)) for result in (last, final_state))
    for got, wanted in zip(from_states, from_final, strict=True):
        assert_close(got, wanted.numpy())


def test_no_step_of_a_loop_copies_an_array():
    """A copy in each of T steps would cost T squared."""
    array, start, marks = tf.constant(DECAY), tf.constant(DECAY[:, 0]), tf.zeros((B, T, 1), tf.bool)
    calls = {
        tensorflow_loop._run: (array, array, start, marks),
        tensorflow_loop._run_back: (array, array, array, start, marks, array, start),
    }
    for compiled, arguments in calls.items():
        text = compiled.experimental_get_compiler_ir(*arguments)(stage="optimized_hlo")
        loops = text[: text.index("\nENTRY")]
        assert "dynamic-update-slice" in loops
        assert not re.search(rf"= f32\[{B},{T},{D}\]\S* copy", loops)
