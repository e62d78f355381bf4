"""Global multi-query attention, the paper's baseline."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_griffin.layers.base.weights import StateSpec
from keras_griffin.layers.multi_query_attention import MultiQueryAttention, document_numbers
from keras_griffin.ops import global_attention
from keras_griffin.ops.shared.compaction import at_latest, real_steps_last, take_steps
from keras_griffin.ops.shared.padding import padded_steps
from keras_griffin.ops.step_attention import step_attention, write_place
from keras_griffin.shapes import Tensor


class GlobalMQAState(NamedTuple):
    """The state of `GlobalMQA`: every key so far. It grows with every step."""

    #: `(B, steps, K, H)`, compute dtype, each rotated by its position in its document.
    keys: Tensor
    #: `(B, steps, K, H)`, compute dtype.
    values: Tensor
    #: `(B, steps)` bool: which of them a later query may see, the steps of its document.
    visible: Tensor

    def with_room(self, places: int) -> "GlobalMQARoom":
        """The state with so many more empty places before its first key, for steps to write to."""
        return GlobalMQARoom(*(padded_steps(leaf, places) for leaf in self))

    def without_room(self, places: int) -> "GlobalMQAState":
        """The state without its first `places` places, which must be empty: it grows with every step again."""
        return GlobalMQAState(*(leaf[:, places:] for leaf in self))


class GlobalMQARoom(GlobalMQAState):
    """A state with an empty place for each step to come: a step writes there and does not grow the state.

    Where a backend writes in place, as JAX does in a compiled loop, the other keys are not copied. A step takes the
    last of a row's empty places, so that the newest key is the first. The order makes no difference to attention.
    """

    __slots__ = ()


@keras.saving.register_keras_serializable("keras_griffin")
class GlobalMQA(MultiQueryAttention):
    """Mix along time by attention to all steps so far: the baseline for Griffin.

        y_t = W_out softmax_s(rotate(q_t) . rotate(k_s) / sqrt(H)) v_s        s <= t

    Time is O(T^2), memory O(T) (see `keras_griffin.ops.global_attention`), and the state grows with every step.

    Args:
        num_heads, head_dim, num_key_value_heads, rotary_fraction, rotary_base, output_variance_scale: as for
            `LocalMQA`.

    State: `GlobalMQAState`. Call arguments, shapes, errors and `**kwargs`: see `keras_griffin.layers.Mixer`.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.mixers.GlobalMQA(num_heads=2)(np.ones((2, 10, 8), "float32")).shape)
        (2, 10, 8)

    Reference: De et al. 2024 (arXiv 2402.19427), section 2.3; Shazeer 2019 (arXiv 1911.02150).
    """

    state_type = GlobalMQAState

    @classmethod
    def state_of(cls, width: int, tokens: int, **heads: Any) -> dict[str, StateSpec]:
        keys = cls.keys_of(width, tokens, **heads)
        return {"keys": keys, "values": keys, "visible": StateSpec((tokens,), "bool")}

    def call(self, inputs, reset=None, mask=None, inputs_mask=None):
        """The whole sequence, as in `SequenceLayer.call`, without the empty state that `advance` would continue."""
        inputs, reset, mask = self.prepare(inputs, reset, inputs_mask if mask is None else mask)
        query, key, value = self.project(inputs)
        query, key = self.rotate(_positions(ops.shape(inputs)[1], reset, mask), query, key)
        documents = None if reset is None else document_numbers(reset, mask)
        return self.join(global_attention(query, key, value, segment_ids=documents, mask=mask))

    def _steps(self, query, key, value, state, reset, mask):
        past, length = (ops.shape(x)[1] for x in (state.visible, query))
        real = ops.ones(ops.shape(query)[:2], "bool") if mask is None else mask
        visible = ops.concatenate([state.visible, real], axis=1)
        new = None if reset is None else ops.concatenate([ops.zeros_like(state.visible), reset], axis=1)
        positions = _positions(past + length, new, visible)[:, past:]
        query, key = self.rotate(positions, query, key)
        keys, values = ops.concatenate([state.keys, key], axis=1), ops.concatenate([state.values, value], axis=1)
        documents = None if new is None else document_numbers(new, visible)
        outputs = self.join(global_attention(query, keys, values, segment_ids=documents, mask=visible))
        if documents is not None:
            visible = ops.logical_and(visible, documents == documents[:, -1:])
        if mask is not None:
            # Keys that no query sees move to the front, where they can be cut off.
            sources, _ = real_steps_last(visible)
            keys, values, visible = (take_steps(x, sources) for x in (keys, values, visible))
        if reset is not None or mask is not None:
            # They become zeros, because a step multiplies them by zero.
            keys, values = (ops.where(visible[..., None, None], x, ops.zeros((), x.dtype)) for x in (keys, values))
        return outputs, type(state)(keys, values, visible)

    def _step(self, query, key, value, state):
        position = ops.sum(ops.cast(state.visible, "int32"), axis=1, keepdims=True)
        query, key = self.rotate(position, query, key)
        if isinstance(state, GlobalMQARoom):
            places = ops.arange(state.visible.shape[1], dtype="int32")
            place = ops.subtract(state.visible.shape[1] - 1, position)
            keys, values = (write_place(x, place[:, 0], new) for x, new in ((state.keys, key), (state.values, value)))
            state = GlobalMQARoom(keys, values, places >= place)
        else:
            new = key, value, ops.ones_like(position, "bool")
            state = GlobalMQAState(*(ops.concatenate(both, axis=1) for both in zip(state, new, strict=True)))
        return self.join(step_attention(query, *state)), state


def _positions(length, reset, real):
    """Positions in the document, `(T,)`, or `(B, T)` where documents differ in a row, and only real steps count."""
    steps = ops.arange(length, dtype="int32")
    if reset is None and real is None:
        return steps
    counted = (
        ops.broadcast_to(steps, ops.shape(reset)) if real is None else ops.cumsum(ops.cast(real, "int32"), axis=1) - 1
    )
    if reset is None:
        return counted
    return counted - at_latest(reset if real is None else ops.logical_and(reset, real), counted)
