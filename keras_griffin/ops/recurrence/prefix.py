"""A scan in log T rounds over whole arrays with `keras.ops`, differentiated by the backend itself.

After round k, each step includes the 2^k steps before it (Hillis and Steele 1986). O(T log T) in time, and with
gradients also in memory.
"""

from collections.abc import Sequence

from keras import ops

from keras_griffin.ops.recurrence.marks import zero_where
from keras_griffin.ops.recurrence.numbers import Components, Semiring
from keras_griffin.ops.shared.padding import padded_steps
from keras_griffin.shapes import Tensor


def supports(facts) -> str | None:
    """Everything but float64 on NumPy, where Keras computes in float32."""
    return "computes in float32" if (facts.backend, facts.dtype) == ("numpy", "float64") else None


def scan(
    decay: Components,
    inputs: Components,
    initial_state: Components,
    forgotten: Tensor | None,
    reverse: bool,
    semiring: Semiring,
) -> tuple[Components, Components]:
    """Every state and the last one."""
    plus, times, zero, one = semiring
    length = ops.shape(inputs[0])[1]
    before = _before if isinstance(length, int) else _before_in_a_loop

    def take_in(distance, decay, states, forgotten=None):
        # Select before multiplying, so that the gradients of both factors are selected too.
        states = plus(states, times(decay, zero_where(forgotten, before(states, distance, zero, reverse), zero)))
        decay = times(decay, zero_where(forgotten, before(decay, distance, one, reverse), zero))
        if forgotten is None:
            return 2 * distance, decay, states
        return 2 * distance, decay, states, ops.logical_or(forgotten, before((forgotten,), distance, False, reverse)[0])

    # TensorFlow's loops can't carry None.
    carried: Sequence = decay, _with_start(decay, inputs, initial_state, forgotten, reverse, semiring)
    carried = carried if forgotten is None else (*carried, forgotten)
    if isinstance(length, int):
        distance = 1
        while distance < length:
            distance, *carried = take_in(distance, *carried)
    else:
        _, *carried = ops.while_loop(
            lambda distance, *_: distance < length, take_in, (1, *carried), maximum_iterations=_most_rounds(length)
        )
    states = carried[1]
    last_rows = [h[:, :1] if reverse else h[:, -1:] for h in states]
    # Concatenated, since an empty sequence has no last row.
    pairs = zip(initial_state, last_rows, strict=True)
    return states, tuple(ops.concatenate([h[:, None], row], axis=1)[:, -1] for h, row in pairs)


def _with_start(decay, inputs, initial_state, forgotten, reverse, semiring):
    """The inputs, with the initial state's contribution added to the first."""
    first, others = (slice(-1, None), slice(-1)) if reverse else (slice(1), slice(1, None))
    start = tuple(h[:, None] for h in initial_state)
    start = zero_where(None if forgotten is None else forgotten[:, first], start, semiring.zero)
    entering = semiring.times(tuple(a[:, first] for a in decay), start)
    firsts = semiring.plus(tuple(x[:, first] for x in inputs), entering)
    parts = [(x[:, others], row) if reverse else (row, x[:, others]) for x, row in zip(inputs, firsts, strict=True)]
    return tuple(ops.concatenate(part, axis=1) for part in parts)


def _before(arrays, distance, filler, reverse):
    """The values `distance` steps earlier; the real `filler` where there are none."""
    part = slice(distance, None) if reverse else slice(-distance)
    around = (0, distance) if reverse else (distance, 0)
    fillers = (filler, 0.0)[: len(arrays)]
    return tuple(padded_steps(x[:, part], *around, value) for x, value in zip(arrays, fillers, strict=True))


def _before_in_a_loop(arrays, distance, filler, reverse):
    """Like `_before`, if T and `distance` are known only when the model runs."""
    length = ops.shape(arrays[0])[1]
    steps = ops.arange(length, dtype="int32")
    steps = steps + distance if reverse else steps - distance
    known = ops.logical_and(steps >= 0, steps < length)[:, None]
    # Taken step by step, since LiteRT can't roll.
    steps = ops.clip(steps, 0, length - 1)
    fillers = (filler, 0.0)[: len(arrays)]
    return tuple(ops.where(known, ops.take(x, steps, axis=1), y) for x, y in zip(arrays, fillers, strict=True))


def _most_rounds(length):
    """A bound on log2(length), at least 1, which XLA needs to differentiate the loop."""
    return 1 + ops.sum(ops.cast(2 ** ops.arange(31, dtype="int32") < length, "int32"))
