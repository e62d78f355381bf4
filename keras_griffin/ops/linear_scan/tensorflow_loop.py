"""On TensorFlow: one in-place while loop along time, and one such loop backward for the gradients.

Both are always compiled by XLA, whether or not the function around them is: uncompiled, a step of TensorFlow's loops
costs several times its arithmetic. XLA updates an array in place if every read of it comes before the write or reads
the written version. So each row is computed from the newest version of the arrays, and is never used for two writes;
otherwise every step would copy whole arrays.
"""

import functools

import tensorflow as tf
from keras import ops

from keras_griffin.ops.linear_scan.components import Components, add, conjugate, multiply
from keras_griffin.ops.linear_scan.marks import on_effective, unless
from keras_griffin.ops.linear_scan.semiring import LINEAR
from keras_griffin.shapes import Tensor


def supports(facts) -> str | None:
    """Everything on TensorFlow."""
    return None


@on_effective
def linear_scan(
    decay: Components, inputs: Components, initial_state: Components, forgotten: Tensor | None, reverse: bool
) -> tuple[Components, Components]:
    """Every state and the last one; see the package."""
    parts = len(inputs)
    marks = () if forgotten is None else (forgotten,)

    def compiled(function):
        return _compiled(function, parts, inputs[0].dtype, forgotten is not None, reverse)

    @tf.custom_gradient
    def differentiable_scan(*tensors):
        # Hidden from tapes, which would turn the compiled function into another one that stores every step's arrays.
        stopped = [tf.stop_gradient(tensor) for tensor in tensors]
        decay, inputs, initial_state = (tuple(stopped[i : i + parts]) for i in range(0, 3 * parts, parts))
        states, final_state = compiled(scan)(decay, inputs, initial_state, *marks)

        def gradient(*gradients):
            given = gradients[:parts], gradients[parts:]
            return tf.nest.flatten(compiled(scan_gradient)(decay, states, initial_state, *marks, *given))

        return (*states, *final_state), gradient

    results = differentiable_scan(*decay, *inputs, *initial_state)
    results = [tf.ensure_shape(y, x.shape) for y, x in zip(results, (*inputs, *initial_state), strict=True)]
    return tuple(results[:parts]), tuple(results[parts:])


@functools.cache
def _compiled(function, parts, dtype, forgets, reverse):
    """The function, traced once and compiled once for each shape."""
    number, state = ((tf.TensorSpec([None] * rank, dtype),) * parts for rank in (3, 2))
    # A signature can't contain None.
    marks = [tf.TensorSpec([None, None, 1], tf.bool)] if forgets else []
    gradients = [number, state] if function is scan_gradient else []

    def run(decay, numbers, initial_state, *others):
        forgotten, given = (others[0], others[1:]) if forgets else (None, others)
        return function(decay, numbers, initial_state, forgotten, *given, reverse)

    signature = [number, number, state, *marks, *gradients]
    return tf.function(run, input_signature=signature, jit_compile=True, autograph=False)


def scan(decay, inputs, initial_state, forgotten, reverse, semiring=LINEAR):
    """`linear_scan`, to be compiled by XLA and not differentiated."""
    length = _at_least_one(inputs)
    at = _order(length, reverse)

    def step(t, states):
        # `states` holds finished states before step t, and still the inputs from there on.
        return _write(
            states,
            at(t),
            lambda now: semiring.plus(entering(t, _row(now, at(t - 1))), _row(now, at(t))),
        )

    def entering(t, state):
        return unless(_mark(forgotten, at(t)), semiring.times(_row(decay, at(t)), state), semiring.zero)

    first = entering(0, _as_row(initial_state))
    states = _write(inputs, at(0), lambda now: semiring.plus(first, _row(now, at(0))))
    states = _loop(1, length, step, states)
    last = _row(states, at(length - 1))
    # Concatenated, since an empty sequence has no last row.
    final_state = tuple(tf.concat([h[:, None], row], 1)[:, -1] for h, row in zip(initial_state, last, strict=True))
    return states, final_state


def scan_gradient(decay, states, initial_state, forgotten, states_gradient, final_gradient, reverse):
    """dx_t = g_t + conj(a_{t+1}) dx_{t+1}, da_t = dx_t conj(h_{t-1}), dh_0 = conj(a_1) dx_1."""
    length = _at_least_one(states)
    at = _order(length, reverse)

    def step(i, gradient):
        t = length - 1 - i
        return _write(
            gradient,
            at(t),
            lambda now: add(_row(now, at(t)), leaving(t + 1, now)),
        )

    def leaving(t, gradient):
        return unless(_mark(forgotten, at(t)), multiply(conjugate(_row(decay, at(t))), _row(gradient, at(t))))

    last = at(length - 1)
    gradient = _write(states_gradient, last, lambda now: add(_row(now, last), _as_row(final_gradient)))
    gradient = _loop(1, length, step, gradient)
    starts = _as_row(initial_state)
    if reverse:
        before = tuple(tf.concat([h[:, 1:], start], 1) for h, start in zip(states, starts, strict=True))
    else:
        before = tuple(tf.concat([start, h[:, :-1]], 1) for h, start in zip(states, starts, strict=True))
    into_decay = multiply(gradient, conjugate(unless(forgotten, before)))
    return into_decay, gradient, tuple(tf.reduce_sum(x, 1) for x in leaving(0, gradient))


def _at_least_one(arrays):
    """T, or 1 for an empty sequence, whose row is then empty."""
    return tf.maximum(tf.shape(arrays[0])[1], 1)


def _order(length, reverse):
    """The index of the t-th step to be computed."""
    return lambda t: length - 1 - t if reverse else t


def _loop(start, stop, step, arrays):
    _, arrays = tf.while_loop(lambda t, _: t < stop, lambda t, arrays: (t + 1, step(t, arrays)), (start, arrays))
    return arrays


def _mark(forgotten, place):
    return None if forgotten is None else _row((forgotten,), place)[0]


def _row(arrays, place):
    """One row of each array; none of an empty array."""
    batch_size, length, width = tf.unstack(tf.shape(arrays[0]))
    return tuple(tf.slice(array, [0, place, 0], [batch_size, tf.minimum(length, 1), width]) for array in arrays)


def _write(arrays, place, compute):
    """Write the row that `compute` derives from the arrays, one component after the other."""
    for index in range(len(arrays)):
        written = ops.slice_update(arrays[index], (0, place, 0), compute(arrays)[index])
        arrays = (*arrays[:index], written, *arrays[index + 1 :])
    return arrays


def _as_row(state):
    return tuple(component[:, None] for component in state)
