"""The calls on which `linear_cross_entropy` is tested and timed."""

from dataclasses import dataclass

import numpy as np

from keras_griffin.ops.case import Case, Functions
from keras_griffin.ops.linear_cross_entropy import linear_cross_entropy, reference


@dataclass(frozen=True)
class LossCase(Case):
    """One call of `linear_cross_entropy`: inputs `(B, T, D)`, a table `(V, D)`, and a cap or None."""

    functions = Functions(linear_cross_entropy, reference.linear_cross_entropy, reference.linear_cross_entropy_gradient)
    batch_size: int
    length: int
    width: int
    vocabulary_size: int
    soft_cap: float | None = None
    dtype: str = "float32"

    @property
    def shape(self):
        return self.batch_size, self.length, self.width

    @property
    def result_dtypes(self):
        return [self.accumulation_dtype]

    @property
    def precisions(self):
        # The matrix product is in the inputs' dtype.
        return [self.dtype]

    @property
    def options(self):
        targets = np.random.default_rng(1).integers(self.vocabulary_size, size=self.shape[:2], dtype="int32")
        return {"targets": targets, "soft_cap": self.soft_cap}

    def arguments(self):
        return self.normal_arguments(self.shape, (self.vocabulary_size, self.width))


CASES = tuple(
    LossCase(*sizes, soft_cap=soft_cap, dtype=dtype)
    for sizes in [
        *[(1, 1, 3, 5), (3, 2, 4, 7), (2, 63, 5, 11), (1, 64, 3, 2), (2, 65, 4, 13)],
        # No steps, no rows, and no channels.
        *[(3, 0, 2, 4), (0, 3, 2, 4), (2, 3, 0, 4)],
    ]
    for soft_cap in (None, 1.5)
    for dtype in ("float32", "bfloat16")
)


def timed(device: str) -> tuple[LossCase, ...]:
    """A small model's batch first; on accelerators RecurrentGemma-2B's vocabulary."""
    small = LossCase(8, 512, 512, 8192)
    return (small,) if device == "cpu" else (small, LossCase(1, 2048, 2560, 256_000, 30.0, "bfloat16"))
