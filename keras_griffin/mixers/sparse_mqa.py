"""Sparse multi-query attention: the newest steps and every l-th, or the own block and the ends of others."""

from typing import Any, NamedTuple, Unpack

import keras
from keras import ops

from keras_griffin.layers.attention.unbounded_attention import UnboundedAttention
from keras_griffin.layers.base.weights import StateSpec
from keras_griffin.ops import sparse_attention
from keras_griffin.ops.shared.compaction import take_steps
from keras_griffin.ops.shared.padding import padded_steps
from keras_griffin.ops.sparse_attention import checked_pattern
from keras_griffin.shapes import LayerOptions, State, Tensor


class SparseMQAState(NamedTuple):
    """The state of `SparseMQA`: every key so far. It grows with every step."""

    #: `(B, steps, K, H)`, compute dtype, each rotated by its position in its document.
    keys: Tensor
    #: `(B, steps, K, H)`, compute dtype.
    values: Tensor
    #: `(B, steps)` int32: the number of each step in its document, from 1; 0 for what no later query may see.
    numbers: Tensor

    def with_room(self, places: int) -> "SparseMQARoom":
        """The state with so many more empty places before its first key, for steps to write to."""
        return SparseMQARoom(*(padded_steps(leaf, places) for leaf in self))

    def without_room(self, places: int) -> "SparseMQAState":
        """The state without its first `places` places, which must be empty: it grows with every step again."""
        return SparseMQAState(*(leaf[:, places:] for leaf in self))


class SparseMQARoom(SparseMQAState):
    """A state with an empty place for each step to come; see `UnboundedAttention`."""

    __slots__ = ()


@keras.saving.register_keras_serializable("keras_griffin")
class SparseMQA(UnboundedAttention):
    """Mix along time by attention to a sparse pattern of the steps so far.

        y_i = W_out softmax_j(rotate(q_i) . rotate(k_j) / sqrt(H)) v_j        over j <= i with
        i - j < l  or  (i - j) mod l = 0                                      "strided"
        floor(i / l) = floor(j / l)  or  j mod l >= l - c                     "fixed"

    Steps are numbered from the start of a document, and masked ones are not counted. Time and memory are
    O(T (l + T / l)) or O(T (l + c T / l)). The state grows with every step; a step of decoding reads all of it, and
    weighs what the pattern hides by zero.

    Args:
        num_heads: N, the query heads.
        stride: l, the period of the pattern.
        pattern: `"strided"` or `"fixed"`; every head has both of its parts.
        summary_steps: c, the last steps of each block that all later queries see; unused by `"strided"`.
        head_dim, num_key_value_heads, rotary_fraction, rotary_base, output_variance_scale: as for `LocalMQA`.

    State: `SparseMQAState`. Call arguments, shapes, errors and `**kwargs`: see `keras_griffin.layers.Mixer`.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> mixer = keras_griffin.mixers.SparseMQA(num_heads=2, stride=4)
        >>> tuple(mixer(np.ones((2, 10, 8), "float32")).shape)
        (2, 10, 8)

    Reference: Child et al. 2019 (arXiv 1904.10509), section 4.2; Shazeer 2019 (arXiv 1911.02150).
    """

    state_type = SparseMQAState
    room_type = SparseMQARoom

    def __init__(
        self,
        num_heads: int,
        stride: int = 128,
        pattern: str = "strided",
        summary_steps: int = 8,
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
        self.stride, self.pattern, self.summary_steps = checked_pattern("SparseMQA", stride, pattern, summary_steps)

    @classmethod
    def state_of(cls, width: int, tokens: int, **arguments: Any) -> dict[str, StateSpec]:
        keys = cls.keys_of(width, tokens, **arguments)
        return {"keys": keys, "values": keys, "numbers": StateSpec((tokens,), "int32")}

    def sees(self, query_step: Tensor, key_step: Tensor) -> Tensor:
        """The pattern."""
        distance = query_step - key_step
        if self.pattern == "strided":
            near, far = distance < self.stride, distance % self.stride == 0
        else:
            near = query_step // self.stride == key_step // self.stride
            far = key_step % self.stride >= self.stride - self.summary_steps
        return ops.logical_and(super().sees(query_step, key_step), ops.logical_or(near, far))

    def attend(
        self, query: Tensor, keys: Tensor, values: Tensor, documents: Tensor | None, mask: Tensor | None
    ) -> Tensor:
        return sparse_attention(
            query,
            keys,
            values,
            self.stride,
            pattern=self.pattern,
            summary_steps=self.summary_steps,
            segment_ids=documents,
            mask=mask,
        )

    def marks_of(self, positions: Tensor, visible: Tensor) -> Tensor:
        return ops.where(visible, positions + 1, 0)

    def seen_by(self, position: Tensor, marks: Tensor) -> Tensor:
        return ops.logical_and(marks > 0, self.sees(position, marks - 1))

    def in_order(self, state: State) -> State:
        order = ops.argsort(state.numbers, axis=1)
        return SparseMQAState(*(take_steps(leaf, order) for leaf in state))
