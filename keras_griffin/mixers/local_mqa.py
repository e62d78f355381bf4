"""Local (sliding-window) multi-query attention."""

from typing import Any, NamedTuple, Unpack

import keras
from keras import ops

from keras_griffin.checks import COUNT, Rule
from keras_griffin.layers.attention.multi_query_attention import MultiQueryAttention, document_numbers
from keras_griffin.layers.base.weights import StateSpec
from keras_griffin.ops import local_attention
from keras_griffin.ops.rotary_embedding import Rotation, rotated
from keras_griffin.ops.shared import time_axis
from keras_griffin.ops.shared.compaction import real_steps_last, take_steps
from keras_griffin.ops.step_attention import ring_attention, write_place
from keras_griffin.shapes import LayerOptions, Tensor

#: Steps are counted to 2 W, in int32.
WINDOW = Rule(f"an integer from 1 to {2**30 - 1}", lambda value: COUNT.holds(value) and value < 2**30)


class LocalMQAState(NamedTuple):
    """The state of `LocalMQA`: a ring of the newest W keys, which never grows.

    Step n of a document is in place n mod W. Its key is rotated by that place and not by n, so that no angle grows with
    the stream; for a key written a lap ago, the query is rotated by W more.
    """

    #: `(B, W, K, H)`, compute dtype, each rotated by its place; zeros in empty places.
    keys: Tensor
    #: `(B, W, K, H)`, compute dtype.
    values: Tensor
    #: `(B,)` int32: n of the document's next step while that is below 2 W; then W + n mod W.
    next_step: Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class LocalMQA(MultiQueryAttention):
    """Mix along time by attention to a window of the newest steps.

        y_t = W_out softmax_s(rotate(q_t) . rotate(k_s) / sqrt(H)) v_s        s = t - W + 1 .. t

    Only the distance of query and key matters, so positions are counted within the window: they never grow, and a
    stream may be endless. A masked step takes no place in the window. Time and memory are O(T W).

    Args:
        num_heads: N, the query heads.
        window: W, the number of keys that a query sees, including its own.
        head_dim: H, the channels of a head; None for D / N.
        num_key_value_heads: K, dividing N; 1 is multi-query attention.
        rotary_fraction: the fraction of each head's channels that is rotated, an even number of them.
        rotary_base: the base of the rotation's wavelengths.
        output_variance_scale: variance of the last kernel, in units of 1 / fan-in.

    State: `LocalMQAState`. Call arguments, shapes, errors and `**kwargs`: see `keras_griffin.layers.Mixer`.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> mixer = keras_griffin.mixers.LocalMQA(num_heads=2, window=4)
        >>> tuple(mixer(np.ones((2, 10, 8), "float32")).shape)
        (2, 10, 8)

    Reference: De et al. 2024 (arXiv 2402.19427), section 2.3; Beltagy et al. 2020 (arXiv 2004.05150).
    """

    state_type = LocalMQAState

    def __init__(
        self,
        num_heads: int,
        window: int,
        head_dim: int | None = None,
        num_key_value_heads: int = 1,
        rotary_fraction: float = 0.5,
        rotary_base: float = 10000.0,
        output_variance_scale: float = 1.0,
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(
            num_heads, head_dim, num_key_value_heads, rotary_fraction, rotary_base, output_variance_scale, **kwargs
        )
        self.window = self.checked(WINDOW, window=window)

    @classmethod
    def arguments_for_model(cls, config: Any) -> dict[str, Any]:
        return {**super().arguments_for_model(config), "window": config.window}

    @classmethod
    def state_of(cls, width: int, tokens: int, *, window: int, **heads: Any) -> dict[str, StateSpec]:
        keys = cls.keys_of(width, min(tokens, window), window=window, **heads)
        return {"keys": keys, "values": keys, "next_step": StateSpec((), "int32")}

    @classmethod
    def reach_of(cls, *, window: int, **heads: Any) -> int:
        return window - 1

    def state_specs(self, width: int) -> dict[str, StateSpec]:
        """The ring, with room for all W keys from the start."""
        return self.state_of(width, self.window, **self.arguments())

    def sees(self, query_step: Tensor, key_step: Tensor) -> Tensor:
        """The newest W keys."""
        return ops.logical_and(super().sees(query_step, key_step), query_step - key_step < self.window)

    def call(self, inputs, reset=None, mask=None, inputs_mask=None):
        """The whole sequence, as in `SequenceLayer.call`, without the empty window that `advance` would attend to."""
        inputs, reset, mask = self.prepare(inputs, reset, inputs_mask if mask is None else mask)
        query, key, value = self.project(inputs)
        documents = None if reset is None else document_numbers(reset, mask)
        query, key = self.rotate(_positions(ops.shape(inputs)[1], mask), query, key)
        return self.join(local_attention(query, key, value, self.window, segment_ids=documents, mask=mask))

    def _steps(self, query, key, value, state, reset, mask):
        length = ops.shape(query)[1]
        seen, keys, values = self._oldest_first(state)
        keys, values = ops.concatenate([keys, key], axis=1), ops.concatenate([values, value], axis=1)
        new = ops.zeros(ops.shape(query)[:2], "bool") if reset is None else reset
        # The ring belongs to document 0, which continues in the chunk until the first reset.
        documents = document_numbers(new, mask)
        real = None if mask is None else ops.concatenate([seen, mask], axis=1)
        positions = _positions(self.window + length, real)
        (query,) = self.rotate(positions[..., self.window :], query)
        (keys,) = self.rotate(positions, keys)
        segment_ids = ops.concatenate([ops.where(seen, 0, -1), documents], axis=1)
        outputs = local_attention(query, keys, values, self.window, segment_ids=segment_ids, mask=real)
        return self.join(outputs), self._written(key, value, state, documents, mask)

    def _step(self, query, key, value, state):
        # One place of the ring changes.
        place = state.next_step % self.window
        # For the keys of this lap, and for those of the previous lap.
        laps = self.rotation(ops.stack([place, place + self.window], axis=1))
        query = rotated(ops.repeat(query, 2, axis=1), laps)
        this_lap = None if laps is None else Rotation(laps.cosine[:, :1], laps.sine[:, :1])
        keys = write_place(state.keys, place, rotated(key, this_lap))
        values = write_place(state.values, place, value)
        next_step = self._wrapped(state.next_step + 1)
        outputs = ring_attention(query, keys, values, place, next_step)
        return self.join(outputs), LocalMQAState(keys, values, next_step)

    def _oldest_first(self, state):
        """The ring in order of time: which places `(B, W)` hold a step, and keys, not rotated, and values."""
        steps = state.next_step[:, None] - self.window + ops.arange(self.window, dtype="int32")
        places = steps % self.window
        (keys,) = self.rotate(-places, take_steps(state.keys, places))
        return steps >= 0, keys, take_steps(state.values, places)

    def _written(self, key, value, state, documents, mask) -> LocalMQAState:
        """The ring after a chunk: the last document's newest W steps, each in its place."""
        last = documents[:, -1:]
        own = documents == last if mask is None else ops.logical_and(documents == last, mask)
        # The number of the last document's steps before the chunk, and after it.
        before = ops.where(last == 0, state.next_step[:, None], 0)
        after = before + ops.sum(ops.cast(own, "int32"), axis=1, keepdims=True)
        places = ops.arange(self.window, dtype="int32")
        # The newest step of each place. Steps of the chunk are counted from its end, after moving masked ones away.
        step = after - 1 - (after - 1 - places) % self.window
        source = ops.shape(key)[1] - (after - step)
        if mask is not None:
            key, value = (take_steps(x, real_steps_last(mask)[0]) for x in (key, value))
        written, kept = (x[..., None, None] for x in (step >= before, ops.logical_and(step >= 0, step < before)))
        source = ops.maximum(source, 0)
        key, value = take_steps(key, source), take_steps(value, source)
        (key,) = self.rotate(places, key)
        keys, values = (
            ops.where(written, new, ops.where(kept, old, ops.zeros((), old.dtype)))
            for new, old in ((key, state.keys), (value, state.values))
        )
        return LocalMQAState(keys, values, self._wrapped(after[:, 0]))

    def _wrapped(self, step):
        """A number of steps below 2 W with the same place; a number from W on means that the ring is full."""
        return ops.where(step < 2 * self.window, step, self.window + step % self.window)


def _positions(length, real):
    """Positions `(T,)`, or `(B, T)` where only real steps count."""
    if real is None:
        return time_axis.positions(length)
    return ops.cumsum(ops.cast(real, "int32"), axis=1) - 1
