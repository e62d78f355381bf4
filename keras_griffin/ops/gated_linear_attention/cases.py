"""The calls on which `gated_linear_attention` is tested and timed."""

from dataclasses import dataclass

import numpy as np

from keras_griffin.ops.case import Argument, rounded
from keras_griffin.ops.gated_linear_attention import gated_linear_attention, reference
from keras_griffin.ops.recurrence.case import RecurrenceCase


@dataclass(frozen=True)
class LinearAttentionCase(RecurrenceCase):
    """One call of `gated_linear_attention`, with log decays from `-strongest` to 0; `width` is the value's channels."""

    #: Bound by its products.
    moved = None
    width: int = 3
    num_heads: int = 2
    num_key_heads: int = 2
    channels: int = 4
    by_channel: bool = False
    has_angles: bool = False
    strongest: float = 1.0

    @property
    def shape(self):
        return self.batch_size, self.length, self.num_heads, self.width

    def arguments(self):
        generator = np.random.default_rng(0)
        steps = self.batch_size, self.length
        keys = *steps, self.num_key_heads, self.channels
        sequences = [generator.normal(size=shape) for shape in (keys, keys, self.shape)]
        decay_shape = *steps, self.num_heads, self.channels if self.by_channel else 1
        sequences.append(-self.strongest * generator.random(decay_shape))
        if self.has_angles:
            sequences.append(generator.uniform(-4, 4, (*keys[:3], self.channels // 2)))
        start = generator.normal(size=(self.batch_size, self.num_heads, self.channels, self.width))
        first = [Argument(rounded(start, self.dtype), self.accumulation_dtype)]
        return [*map(self.sequence, sequences), *first * self.has_initial_state]

    def _named(self, arrays):
        """The arrays by their places in the reference, with None for those that are not given."""
        sequences, start = arrays[: 4 + self.has_angles], arrays[4 + self.has_angles :]
        return [*sequences, *[None] * (not self.has_angles), *start]

    def call(self, *tensors):
        query, key, value, log_decay, angles, *start = self._named(tensors)
        return list(gated_linear_attention(query, key, value, log_decay, *start, angles=angles, **self.options))

    def definition(self, *arrays):
        return list(reference.definition(*self._named(arrays), **self.options))

    def gradients(self, weights, *arrays):
        return list(reference.gradient(*weights, *self._named(arrays), **self.options))

    @classmethod
    def timed(cls, device):
        """Gated linear attention, and Mamba-2, of a small model."""
        lengths = [1024] if device == "cpu" else [1024, 4096]
        return tuple(
            case
            for length in lengths
            for case in (
                cls(length, 2, 256, "float32", False, False, False, 4, 4, 128, True),
                cls(length, 2, 64, "float32", False, False, False, 32, 1, 128),
            )
        )


#: A chunk has 64 steps.
CASES = (
    *(LinearAttentionCase(length, batch_size) for length, batch_size in [(0, 1), (1, 3), (2, 1)]),
    LinearAttentionCase(65, 3, has_initial_state=False),
    LinearAttentionCase(65, 3, has_reset=True, has_mask=True, num_key_heads=1),
    LinearAttentionCase(65, 3, has_reset=True, has_mask=True, by_channel=True),
    LinearAttentionCase(65, 3, has_reset=True, has_mask=True, has_angles=True),
    LinearAttentionCase(1, 8, has_reset=True, has_mask=True, has_angles=True, num_key_heads=1),
    LinearAttentionCase(130, by_channel=True, strongest=30.0, dtype="float64"),
    LinearAttentionCase(5, 3, strongest=1e6, has_mask=True),
    LinearAttentionCase(5, 3, dtype="bfloat16", by_channel=True, has_initial_state=False),
    # A single number at each step, no rows, and no heads.
    LinearAttentionCase(33, 1, 1, num_heads=1, num_key_heads=1, channels=1),
    LinearAttentionCase(3, 0, 4, has_reset=True, has_mask=True),
    LinearAttentionCase(5, 3, dtype="float64", has_reset=True, has_mask=True),
)
timed = LinearAttentionCase.timed
