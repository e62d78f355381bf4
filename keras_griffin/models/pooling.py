"""One vector for each row: the pools of `SequenceEncoder`, over a whole row or a stream."""

from typing import NamedTuple

import keras
from keras import ops

from keras_griffin.generation import register_state_type
from keras_griffin.layers import SequenceLayer
from keras_griffin.models.documents import newest_step
from keras_griffin.ops.log_scan.log_numbers import NOTHING
from keras_griffin.shapes import Tensor

#: What each pool consists of, joined along the channels.
POOLS = {
    "last": ("last",),
    "mean": ("average",),
    "max": ("greatest",),
    "mean_max": ("average", "greatest"),
}


@register_state_type
class PoolState(NamedTuple):
    """What a pool knows of the steps since the last reset, and `()` for what it does not use."""

    #: `(B, D)` float32: the newest vector.
    last: Tensor | tuple
    #: `(B, D)` float32: the average of the vectors.
    average: Tensor | tuple
    #: `(B, 1)` int32: how many they are.
    num_steps: Tensor | tuple
    #: `(B, D)` float32: the greatest value of each channel; -1e30 before the first step.
    greatest: Tensor | tuple


class Pool(SequenceLayer):
    """One vector for each row of vectors, from its unmasked steps since the last reset; zeros if there are none.

        last      x_T
        mean      sum_t x_t / T
        max       max_t x_t, for each channel
        mean_max  the two, joined

    `advance` returns the pool of all steps so far.

    Args:
        kind: a key of `POOLS`.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    State: `PoolState`.

    Input shape: `(B, T, D)`.

    Output shape: `(B, D)`, or `(B, 2 D)` of two.
    """

    def __init__(self, kind: str, **kwargs):
        super().__init__(**kwargs)
        self.kind = kind
        self.parts = POOLS[kind]

    def initial_state(self, batch_size: int) -> PoolState:
        """Of no steps."""
        vector = ops.zeros((batch_size, self.width))
        return PoolState(
            last=vector if "last" in self.parts else (),
            average=vector if "average" in self.parts else (),
            num_steps=ops.zeros((batch_size, 1), "int32") if "average" in self.parts else (),
            greatest=vector + NOTHING if "greatest" in self.parts else (),
        )

    def advance(
        self, inputs: Tensor, state: PoolState, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, PoolState]:
        """The pool `(B, C)` of the steps before `inputs` and those in it, and the state."""
        inputs, reset, mask = self.prepare(inputs, reset, mask)
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        seen, is_reset = since_the_last(reset, mask)
        if is_reset is not None:
            first = self.initial_state(ops.shape(x)[0])
            state = keras.tree.map_structure(lambda start, past: ops.where(is_reset, start, past), first, state)
        if 0 not in x.shape[:2]:
            last = newest_step(x, seen, state.last) if "last" in self.parts else ()
            average, num_steps = _average(x, state, seen) if "average" in self.parts else ((), ())
            greatest = _greatest(x, state, seen) if "greatest" in self.parts else ()
            state = PoolState(last, average, num_steps, greatest)
        return self.value(state), state

    def value(self, state: PoolState) -> Tensor:
        """The pool `(B, C)` of a state."""
        greatest = state.greatest
        if "greatest" in self.parts:
            greatest = ops.where(greatest == NOTHING, ops.zeros_like(greatest), greatest)
        by_part = {"last": state.last, "average": state.average, "greatest": greatest}
        values = [by_part[part] for part in self.parts]
        return ops.cast(values[0] if len(values) == 1 else ops.concatenate(values, axis=-1), self.compute_dtype)

    def compute_output_shape(self, inputs_shape):
        """One vector for each row."""
        return inputs_shape[0], len(self.parts) * inputs_shape[-1]

    def compute_mask(self, inputs, previous_mask=None):
        """None: there is no time."""
        return None


def parts_of(state: PoolState | tuple) -> tuple[str, ...]:
    """The parts that a state is of, as in `POOLS`; none for that of no pool, `()`."""
    leaves = state._asdict() if isinstance(state, PoolState) else {}
    return tuple(part for part in ("last", "average", "greatest") if not isinstance(leaves.get(part, ()), tuple))


def _average(x, state, seen):
    """The average and how many steps it is of, with those of `x (B, T, D)` that are seen."""
    seen = ops.ones_like(x[..., :1], "bool") if seen is None else ops.expand_dims(seen, -1)
    num_steps = state.num_steps + ops.sum(ops.cast(seen, "int32"), axis=1)
    rest = ops.sum(ops.where(seen, x - ops.expand_dims(state.average, 1), 0), axis=1)
    return state.average + rest / ops.cast(ops.maximum(num_steps, 1), x.dtype), num_steps


def _greatest(x, state, seen):
    x = x if seen is None else ops.where(ops.expand_dims(seen, -1), x, NOTHING)
    return ops.maximum(ops.max(x, axis=1), state.greatest)


def since_the_last(reset, mask) -> tuple[Tensor | None, Tensor | None]:
    """Which steps `(B, T)` are unmasked and follow the last reset, None for all; and which rows `(B, 1)` have one."""
    if reset is None:
        return mask, None
    reset = reset if mask is None else ops.logical_and(reset, mask)
    resets = ops.cast(reset, "int32")
    so_far, total = ops.cumsum(resets, axis=1), ops.sum(resets, axis=1, keepdims=True)
    latest = so_far == total
    return latest if mask is None else ops.logical_and(latest, mask), total > 0
