"""Global multi-query attention, the paper's baseline."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_griffin.layers.base.weights import StateSpec
from keras_griffin.layers.multi_query_attention import MultiQueryAttention, document_numbers
from keras_griffin.ops.local_attention.marks import finite_only, keep_gradients_apart, nan_unless
from keras_griffin.ops.shared.compaction import real_steps_last, take_steps
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

    Time is O(T^2), and the state grows with every step.

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

    # Zero times NaN is NaN, and the product of a query includes every key.
    blocks_nan = False

    @classmethod
    def state_of(cls, width: int, tokens: int, **heads: Any) -> dict[str, StateSpec]:
        keys = cls.keys_of(width, tokens, **heads)
        return {"keys": keys, "values": keys, "visible": StateSpec((tokens,), "bool")}

    def call(self, inputs, reset=None, mask=None, inputs_mask=None):
        """As in `SequenceLayer.call`; without resets and masks by the backend's causal attention."""
        mask = inputs_mask if mask is None else mask
        if reset is not None or mask is not None or inputs.shape[1] == 0:
            return super().call(inputs, reset=reset, mask=mask)
        query, key, value = self.project(self.prepare(inputs)[0])
        query, key = self.rotate(ops.arange(ops.shape(query)[1], dtype="int32"), query, key)
        return self.join(self._attend(query, key, value, is_causal=True))

    def _steps(self, query, key, value, state, reset, mask):
        batch_size, length = ops.shape(query)[:2]
        real = ops.ones((batch_size, length), "bool") if mask is None else mask
        new = ops.zeros((batch_size, length), "bool") if reset is None else reset
        visible = ops.concatenate([state.visible, real], axis=1)
        documents = ops.concatenate([ops.zeros_like(state.visible, "int32"), document_numbers(new, mask)], axis=1)

        past = ops.shape(state.visible)[1]
        steps = ops.arange(past + length, dtype="int32")
        # Keras on OpenVINO misplaces a new axis that is indexed after a slice with bounds.
        query_steps = ops.expand_dims(steps[past:], 1)
        causal = steps <= query_steps
        same_document = documents[:, None, :] == ops.expand_dims(documents[:, past:], 2)
        # A masked query sees itself, so that no softmax is empty.
        own = steps == query_steps
        sees = ops.logical_or(ops.logical_and(causal & same_document, visible[:, None, :]), own)
        # A real step sees all of its document up to itself.
        query, key = self.rotate(ops.sum(ops.cast(sees, "int32"), axis=2) - 1, query, key)
        keys, values = ops.concatenate([state.keys, key], axis=1), ops.concatenate([state.values, value], axis=1)
        outputs = self.join(self._attend_apart(query, keys, values, sees, real))
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

    def _attend_apart(self, query, keys, values, sees, real):
        """Attention in which non-finite values affect only the queries that see them, by `sees (B, T, S)`.

        Backward, non-finite cotangents of `real (B, T)` queries affect only the steps which those queries see.
        """
        *finite, whole_query, whole_key = finite_only(query, keys, values)
        lost = ops.any(ops.logical_and(sees, ops.logical_not(whole_key)[:, None, :]), axis=2)
        outputs = self._attend(*finite, mask=sees[:, None])
        outputs = nan_unless(outputs, ops.logical_and(whole_query, ops.logical_not(lost)))
        return keep_gradients_apart(outputs, query, keys, values, _lost_where_seen, (sees, real))

    def _attend(self, query, key, value, **options):
        # Keras's attention on TensorFlow needs as many key heads as query heads.
        groups = self.num_heads // self.num_key_value_heads
        key, value = (ops.repeat(x, groups, axis=2) for x in (key, value))
        return ops.dot_product_attention(query, key, value, **options)


def _lost_where_seen(lost, keys, sees, real):
    lost = ops.logical_and(lost, real)
    return lost, ops.any(ops.logical_and(lost[:, :, None], sees), axis=1)
