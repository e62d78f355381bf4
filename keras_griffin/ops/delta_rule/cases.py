"""The calls on which `delta_rule` is tested and timed."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_griffin.ops.case import Argument, rounded
from keras_griffin.ops.delta_rule import delta_rule, reference
from keras_griffin.ops.recurrence.case import RecurrenceCase


@dataclass(frozen=True)
class DeltaCase(RecurrenceCase):
    """One call of `delta_rule`; `width` is P, the width of a head of values."""

    num_heads: int = 2  # N
    num_key_heads: int = 1  # G
    channels: int = 3  # H
    has_decay: bool = True
    moved = None

    @property
    def shape(self):
        return self.batch_size, self.length, self.num_heads, self.width

    def arguments(self):
        """q, k of length 1, v, l if there is a decay, b, and S_0 if there is one."""
        generator = np.random.default_rng(0)
        steps, state = self.shape[:2], (self.batch_size, self.num_heads, self.channels, self.width)
        query, key = generator.normal(size=(2, *steps, self.num_key_heads, self.channels))
        key = key / np.linalg.norm(key, axis=-1, keepdims=True)
        value, start = generator.normal(size=self.shape), generator.normal(size=state)
        decay, rates = generator.random((2, *steps, self.num_heads))
        sequences = query, key, value, *[-decay] * self.has_decay, rates
        first = [Argument(rounded(start, self.accumulation_dtype), self.accumulation_dtype)]
        return [*map(self.sequence, sequences), *first * self.has_initial_state]

    def call(self, *tensors):
        """Outputs and final state."""
        return list(delta_rule(*self._with_decay(tensors), **self.options))

    def definition(self, *arrays):
        """Outputs and final state."""
        return list(reference.definition(*self._with_decay(arrays), **self.options))

    def gradients(self, weights, *arrays):
        """For every argument."""
        given = self._with_decay(arrays)
        start = given[5] if self.has_initial_state else None
        into = list(reference.delta_rule_gradient(*given[:5], start, *weights, **self.options))
        return into[: 3 + self.has_decay] + into[4 : 5 + self.has_initial_state]

    def _with_decay(self, arrays):
        """All arguments: None for a decay that there is not."""
        return [*arrays[:3], *[None] * (not self.has_decay), *arrays[3:]]


#: Few are long, since JAX compiles for each.
CASES = (
    *(DeltaCase(length, 2) for length in (0, 1)),
    DeltaCase(65, 2, has_reset=True, has_mask=True),
    DeltaCase(130, 1, num_heads=3, num_key_heads=3, has_decay=False, has_initial_state=False),
    DeltaCase(5, 2, has_reset=True),
    DeltaCase(5, 2, dtype="bfloat16", has_mask=True),
    # A single number at each step, no rows, and no channels.
    DeltaCase(33, 1, 1, num_heads=1, channels=1),
    DeltaCase(3, 0, 4, has_reset=True, has_mask=True),
    DeltaCase(3, 2, 0),
    DeltaCase(5, 2, dtype="float64", has_reset=True, has_mask=True),
)


def timed(device: str) -> tuple[DeltaCase, ...]:
    """A small model's training batch first, then a long row, and on accelerators a size that fills them."""
    sizes = [(2, 1024, 8), (1, 4096, 8), *([] if device == "cpu" else [(8, 4096, 32)])]
    plain: dict[str, Any] = {"width": 128, "channels": 128, "has_initial_state": False}
    return tuple(
        DeltaCase(length, batch_size, dtype=dtype, num_heads=heads, num_key_heads=heads // 2, **plain)
        for batch_size, length, heads in sizes
        for dtype in ("float32", "bfloat16")
    )
