"""Shared by local and global multi-query attention: projections, heads and rotation."""

import math
from typing import Any, Unpack

from keras import ops

from keras_griffin.checks import COUNT, FRACTION, POSITIVE
from keras_griffin.layers.base.mixer import ScaledMixer
from keras_griffin.layers.base.weights import StateSpec, Weight, dense_weights
from keras_griffin.layers.projection import project
from keras_griffin.ops.rotary_embedding import Rotation, rotated, rotation
from keras_griffin.ops.shared import time_axis
from keras_griffin.ops.shared.time_axis import running_count
from keras_griffin.shapes import LayerOptions, State, Tensor


class MultiQueryAttention(ScaledMixer):
    """Many query heads over few key and value heads, with rotary positions.

    Queries, keys and values have no bias; the output projection has one. The arguments are described in `LocalMQA`. A
    subclass decides which keys a query sees: in `sees`, `_step` and `_steps`.
    """

    def __init__(
        self,
        num_heads: int,
        head_dim: int | None = None,
        num_key_value_heads: int = 1,
        rotary_fraction: float = 0.5,
        rotary_base: float = 10000.0,
        output_variance_scale: float = 1.0,
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(output_variance_scale, **kwargs)
        self.num_heads = self.checked(COUNT, num_heads=num_heads)
        self.head_dim = self.checked(COUNT.or_none(), head_dim=head_dim)
        self.num_key_value_heads = self.checked(COUNT, num_key_value_heads=num_key_value_heads)
        self.rotary_fraction = self.checked(FRACTION, rotary_fraction=rotary_fraction)
        self.rotary_base = self.checked(POSITIVE, rotary_base=rotary_base)
        if num_heads % num_key_value_heads:
            raise ValueError(
                f"{type(self).__name__}: num_key_value_heads must divide num_heads. "
                f"Got num_key_value_heads {num_key_value_heads} and num_heads {num_heads}."
            )
        if head_dim is not None:
            self._check_rotation(head_dim)

    @classmethod
    def arguments_for_model(cls, config: Any) -> dict[str, Any]:
        names = ("num_heads", "head_dim", "num_key_value_heads", "rotary_fraction", "rotary_base")
        return {**super().arguments_for_model(config), **{name: getattr(config, name) for name in names}}

    @classmethod
    def weights_of(cls, width: int, **arguments: Any) -> dict[str, Weight]:
        given = cls.with_defaults(arguments)
        heads, few = ("num_heads", given.num_heads), ("num_key_value_heads", given.num_key_value_heads)
        channels = given.head_dim or width // given.num_heads
        # If a mesh can't divide the few heads, every device has all of them: they are the smallest weights.
        options: dict[str, Any] = {"bias": False, "must_split": False}
        return {
            **dense_weights("query", width, given.num_heads * channels, 1, heads, bias=False),
            **dense_weights("key", width, given.num_key_value_heads * channels, 1, few, **options),
            **dense_weights("value", width, given.num_key_value_heads * channels, 1, few, **options),
            **dense_weights("output_projection", given.num_heads * channels, width, 0, heads),
        }

    @classmethod
    def keys_of(cls, width: int, length: int, **arguments: Any) -> StateSpec:
        """The keys, or the values, of `length` steps."""
        given = cls.with_defaults(arguments)
        return StateSpec((length, given.num_key_value_heads, given.head_dim or width // given.num_heads))

    def build(self, inputs_shape):
        width = inputs_shape[-1]
        if self.head_dim is None and width % self.num_heads:
            raise ValueError(
                f"{type(self).__name__}: num_heads must divide the inputs' width when head_dim is not given. "
                f"Got num_heads {self.num_heads} and width {width}."
            )
        self.channels = self.head_dim or width // self.num_heads
        self._check_rotation(self.channels)
        super().build(inputs_shape)

    def _check_rotation(self, channels):
        rotated = self.rotary_fraction * channels
        if abs(rotated - 2 * round(rotated / 2)) > 1e-6:
            raise ValueError(
                f"{type(self).__name__}: rotary_fraction must be from 0 to 1 and rotate an even number of channels. "
                f"Got rotary_fraction {self.rotary_fraction} and {channels} channels."
            )

    def advance(
        self, inputs: Tensor, state: State, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Continue from `state`; see `SequenceLayer.advance`."""
        inputs, reset, mask = self.prepare(inputs, reset, mask)
        if inputs.shape[1] == 0:
            return inputs, state
        query, key, value = self.project(inputs)
        if inputs.shape[1] == 1 and reset is None and mask is None:
            return self._step(query, key, value, state)
        return self._steps(query, key, value, state, reset, mask)

    def _step(self, query, key, value, state):
        """`advance` by one step of every row, without marks, so that nothing is computed again."""
        raise NotImplementedError(f"_step: {type(self).__name__} must define it.")

    def _steps(self, query, key, value, state, reset, mask):
        """`advance` by any number of steps."""
        raise NotImplementedError(f"_steps: {type(self).__name__} must define it.")

    def project(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries `(B, T, N, H)`, and keys and values `(B, T, K, H)`, not rotated."""

        def heads(layer, count):
            return ops.reshape(project(layer, inputs), (*ops.shape(inputs)[:2], count, self.channels))

        few = self.num_key_value_heads
        return heads(self.query, self.num_heads), heads(self.key, few), heads(self.value, few)

    def rotate(self, positions: Tensor, *heads: Tensor) -> list[Tensor]:
        """Each of `heads`, `(B, T, N, H)`, rotated to the positions `(T,)` or `(B, T)`."""
        rotation = self.rotation(positions)
        return [rotated(each, rotation) for each in heads]

    def rotation(self, positions: Tensor) -> Rotation | None:
        """The rotation of queries and keys at positions `(T,)` or `(B, T)`."""
        options = {"fraction": self.rotary_fraction, "base": self.rotary_base}
        return rotation(positions, self.channels, self.compute_dtype, **options)

    def join(self, heads: Tensor) -> Tensor:
        """Concatenate the heads' outputs `(B, T, N, H)` and project them to the width."""
        batch_size, length = ops.shape(heads)[:2]
        return project(self.output_projection, ops.reshape(heads, (batch_size, length, self.num_heads * self.channels)))

    def attention_of(self, inputs: Tensor) -> Tensor:
        """The attention weights, `(B, N, T, T)` float32, within one document `(B, T, D)` from its first step."""
        inputs, *_ = self.prepare(inputs)
        query, key, _ = self.project(inputs)
        steps = time_axis.positions(ops.shape(inputs)[1])
        query, key = (ops.cast(heads, "float32") for heads in self.rotate(steps, query, key))
        key = ops.repeat(key, self.num_heads // self.num_key_value_heads, axis=2)
        scores = ops.einsum("btnh,bsnh->bnts", query, key) / math.sqrt(self.channels)
        seen = self.sees(ops.expand_dims(steps, 1), ops.expand_dims(steps, 0))
        scores = ops.where(seen, scores, -math.inf)
        # Keras's softmax warns about a single key.
        weights = ops.exp(scores - ops.max(scores, axis=-1, keepdims=True))
        return weights / ops.sum(weights, axis=-1, keepdims=True)

    def sees(self, query_step: Tensor, key_step: Tensor) -> Tensor:
        """Whether a query sees a key, by the numbers of their steps in the document."""
        return key_step <= query_step


def document_numbers(reset: Tensor, mask: Tensor | None) -> Tensor:
    """Number the documents of a chunk: `(B, T)` int32, 0 until the first reset. Resets at masked steps do not count."""
    return running_count(reset if mask is None else ops.logical_and(reset, mask))
