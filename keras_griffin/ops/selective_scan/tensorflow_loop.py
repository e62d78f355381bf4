"""On TensorFlow: one loop over chunks of time, which keeps the state before each, and one such loop back.

The loop back computes a chunk's states again, and then walks through them from its last step to its first. Both are
always compiled by XLA; see `linear_scan.tensorflow_loop`, also for what makes XLA write rows in place.
"""

import functools

import tensorflow as tf
from keras import ops

from keras_griffin.ops.selective_scan.equations import advance, output, retreat
from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs
from keras_griffin.ops.selective_scan.masked import with_mask_applied
from keras_griffin.shapes import Tensor

#: The most steps of a chunk. At N = 16 the kept states are half as large as the inputs.
CHUNK = 32


def supports(facts) -> str | None:
    """Everything on TensorFlow."""
    return None


@with_mask_applied
def selective_scan(
    selection: SelectiveScanInputs, initial_state: Tensor, reset: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The outputs and the last state; see the package."""
    run, run_back = _compiled()

    @tf.custom_gradient
    def differentiable(*tensors):
        # Hidden from tapes, which would turn the compiled function into another one that stores every step's arrays.
        *selection, initial_state = (tf.stop_gradient(tensor) for tensor in tensors)
        outputs, final_state, starts = run(selection, initial_state, reset)

        def gradient(into_outputs, into_state):
            return run_back(selection, starts, reset, into_outputs, into_state)

        return (outputs, final_state), gradient

    outputs, final_state = differentiable(*selection, initial_state)
    return tf.ensure_shape(outputs, selection.inputs.shape), tf.ensure_shape(final_state, initial_state.shape)


@functools.cache
def _compiled():
    """Forward and backward, each traced for few kinds of arguments and compiled once for each shape."""
    options = {"jit_compile": True, "autograph": False, "reduce_retracing": True}
    return tf.function(scan, **options), tf.function(scan_gradient, **options)


def scan(selection, initial_state, reset):
    """Outputs, the last state, and the states before the chunks, `(chunks, B, N, D)`; to be compiled by XLA."""
    padded, forgets, chunks, steps = _padded(selection, reset, initial_state.dtype)
    rates = tf.transpose(padded.rates)

    def chunk(i, state, starts, outputs):
        def step(t, state, outputs):
            here = _at(padded, t)
            state = advance(rates, state, here, _row(forgets, t))
            return state, _written(outputs, t, output(state, here))

        starts = ops.slice_update(starts, (i, 0, 0, 0), state[None])
        state, outputs = _loop(i * steps, (i + 1) * steps, step, (state, outputs))
        return state, starts, outputs

    state = tf.transpose(initial_state, [0, 2, 1])
    starts = tf.zeros(tf.concat([[chunks], tf.shape(state)], 0), state.dtype)
    state, starts, outputs = _loop(0, chunks, chunk, (state, starts, tf.zeros_like(padded.inputs)))
    return _without_padding(outputs, selection[0]), tf.transpose(state, [0, 2, 1]), starts


def scan_gradient(selection, starts, reset, into_outputs, into_state):
    """The gradients for the selection and for the initial state; to be compiled by XLA and not differentiated."""
    padded, forgets, chunks, steps = _padded(selection, reset, starts.dtype)
    rates = tf.transpose(padded.rates)
    into_outputs = _with_steps(tf.cast(into_outputs, starts.dtype), tf.shape(padded.inputs)[1])

    def chunk(i, gradient, into_rates, *into_sequences):
        i = chunks - 1 - i

        def step(k, state, before):
            before = ops.slice_update(before, (k, 0, 0, 0), state[None])
            t = i * steps + k
            return advance(rates, state, _at(padded, t), _row(forgets, t)), before

        def step_back(k, gradient, into_rates, *into_sequences):
            k = steps - 1 - k
            t = i * steps + k
            numbers = gradient, before[k], _at(padded, t), _row(forgets, t), _row(into_outputs, t)
            gradient, into_rates_here, into_step = retreat(rates, *numbers)
            pairs = zip(into_sequences, into_step, strict=True)
            return gradient, into_rates + into_rates_here, *(_written(x, t, row) for x, row in pairs)

        before = tf.zeros(tf.concat([[steps], tf.shape(gradient)], 0), gradient.dtype)
        _, before = _loop(0, steps, step, (starts[i], before))
        return _loop(0, steps, step_back, (gradient, into_rates, *into_sequences))

    gradient = tf.transpose(into_state, [0, 2, 1])
    into_sequences = [tf.zeros_like(x) for x in padded if x is not padded.rates]
    carried = (gradient, tf.zeros_like(gradient), *into_sequences)
    gradient, into_rates, *into_sequences = _loop(0, chunks, chunk, carried)
    inputs, sizes, b, c = (_without_padding(x, selection[0]) for x in into_sequences)
    results = inputs, sizes, tf.transpose(tf.reduce_sum(into_rates, 0)), b, c
    return [*map(tf.cast, results, [x.dtype for x in selection]), tf.transpose(gradient, [0, 2, 1])]


def _padded(selection, reset, dtype):
    """The selection and `(B, T, 1, 1)` resets for a whole number of chunks, this number, and the steps of each.

    A step of size zero changes no state. A sequence of no steps is padded to one.
    """
    length = tf.shape(selection[0])[1]
    chunks = tf.maximum((length + CHUNK - 1) // CHUNK, 1)
    steps = tf.maximum((length + chunks - 1) // chunks, 1)
    u, s, rates, b, c = (tf.cast(x, dtype) for x in selection)
    u, s, b, c = (_with_steps(x, chunks * steps) for x in (u, s, b, c))
    forgets = None if reset is None else _with_steps(reset, chunks * steps)[..., None, None]
    return SelectiveScanInputs(u, s, rates, b, c), forgets, chunks, steps


def _with_steps(x, length):
    """The sequence `(B, T, ...)`, padded to a length."""
    return tf.pad(x, [[0, 0], [0, length - tf.shape(x)[1]], *[[0, 0]] * (x.shape.rank - 2)])


def _without_padding(x, like):
    """The first steps of a sequence, as many as `like` has, in its dtype."""
    return tf.cast(x[:, : tf.shape(like)[1]], like.dtype)


def _at(selection, t):
    """The numbers of a step; without rates."""
    inputs, sizes, _, b, c = selection
    inputs, sizes, b, c = (_row(x, t) for x in (inputs, sizes, b, c))
    return SelectiveScanInputs(inputs, sizes, None, b, c)


def _row(x, t):
    return None if x is None else x[:, t]


def _written(array, t, row):
    return ops.slice_update(array, (0, t, 0), row[:, None])


def _loop(start, stop, step, carried):
    """What is carried through `step(t, *carried)` for each t."""
    body = lambda t, *carried: (t + 1, *step(t, *carried))  # noqa: E731
    return tf.while_loop(lambda t, *_: t < stop, body, (start, *carried))[1:]
