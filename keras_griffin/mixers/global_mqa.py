"""Global multi-query attention, the paper's baseline."""

from typing import Any, NamedTuple

import keras

from keras_griffin.layers.attention.unbounded_attention import UnboundedAttention
from keras_griffin.layers.base.weights import StateSpec
from keras_griffin.ops import global_attention
from keras_griffin.ops.shared.padding import padded_steps
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
    """A state with an empty place for each step to come; see `UnboundedAttention`."""

    __slots__ = ()


@keras.saving.register_keras_serializable("keras_griffin")
class GlobalMQA(UnboundedAttention):
    """Mix along time by attention to all steps so far: the baseline for Griffin.

        y_t = W_out softmax_s(rotate(q_t) . rotate(k_s) / sqrt(H)) v_s        s <= t

    Time is O(T^2), memory in training O(T) (see `keras_griffin.ops.global_attention`). The state grows with every step.

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
    room_type = GlobalMQARoom

    @classmethod
    def state_of(cls, width: int, tokens: int, **heads: Any) -> dict[str, StateSpec]:
        keys = cls.keys_of(width, tokens, **heads)
        return {"keys": keys, "values": keys, "visible": StateSpec((tokens,), "bool")}

    def attend(
        self, query: Tensor, keys: Tensor, values: Tensor, documents: Tensor | None, mask: Tensor | None
    ) -> Tensor:
        return global_attention(query, keys, values, segment_ids=documents, mask=mask)

    def marks_of(self, positions: Tensor, visible: Tensor) -> Tensor:
        return visible

    def seen_by(self, position: Tensor, marks: Tensor) -> Tensor:
        return marks
