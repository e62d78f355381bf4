"""`over_chunks` on TensorFlow, with a gradient of its own: XLA can't compile TensorFlow's gradient of a loop.

Backward, a step is computed again from the state before it.
"""

import tensorflow as tf


def over_chunks(step, start, sequences, constants):
    """The contract is `keras_griffin.ops.chunked.loop`."""

    @tf.custom_gradient
    def run(start, *tensors):
        # Hidden from tapes, which would record every step.
        start, *hidden = map(tf.stop_gradient, (start, *tensors))
        sequences, constants = hidden[:count], hidden[count:]
        states, last, results = _forward(step, start, sequences, constants)

        def gradient(into_states, into_last, *into_results):
            return _backward(step, states, sequences, constants, into_states, into_last, into_results)

        return (states, last, *results), gradient

    count = len(sequences)
    states, last, *results = run(start, *sequences, *constants)
    return states, last, tuple(results)


def _forward(step, start, sequences, constants):
    def chunk(c, state, arrays):
        after, results = step(state, *(x[c] for x in sequences), *constants)
        return after, [array.write(c, x) for array, x in zip(arrays, (state, *results), strict=True)]

    length = tf.shape(sequences[0])[0]
    # The first chunk says what the results are.
    last, results = step(start, *(x[0] for x in sequences), *constants)
    arrays = [_array(x, length).write(0, x) for x in (start, *results)]
    _, last, arrays = tf.while_loop(
        lambda c, *_: c < length, lambda c, *carried: (c + 1, *chunk(c, *carried)), (1, last, arrays)
    )
    states, *results = (array.stack() for array in arrays)
    return states, last, results


def _backward(step, states, sequences, constants, into_states, into_last, into_results):
    """The gradients for start, sequences and constants."""

    def chunk(c, into, arrays, into_constants):
        tensors = [states[c], *(x[c] for x in sequences), *constants]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            after, results = step(*tensors)
        given = [into, *(x[c] for x in into_results)]
        found = tape.gradient([after, *results], tensors, given, unconnected_gradients="zero")
        of_state, of_numbers, of_constants = found[0], found[1 : 1 + len(sequences)], found[1 + len(sequences) :]
        arrays = [array.write(c, x) for array, x in zip(arrays, of_numbers, strict=True)]
        into_constants = [x + y for x, y in zip(into_constants, of_constants, strict=True)]
        return of_state + into_states[c], arrays, into_constants

    length = tf.shape(states)[0]
    carried = into_last, [_array(x[0], length) for x in sequences], [tf.zeros_like(x) for x in constants]
    _, into, arrays, into_constants = tf.while_loop(
        lambda c, *_: c >= 0, lambda c, *carried: (c - 1, *chunk(c, *carried)), (length - 1, *carried)
    )
    return into, *(array.stack() for array in arrays), *into_constants


def _array(x, length):
    """Room for so many tensors like one."""
    return tf.TensorArray(x.dtype, length, element_shape=x.shape)
