"""The calls on which `linear_cross_entropy` is tested and timed."""

from dataclasses import dataclass

import numpy as np

from keras_griffin.ops.case import Argument, Case, described, rounded
from keras_griffin.ops.linear_cross_entropy import linear_cross_entropy, reference


@dataclass(frozen=True)
class LossCase(Case):
    """One call of `linear_cross_entropy`.

    Args:
        batch_size: B.
        length: T.
        width: D.
        vocabulary_size: V.
        soft_cap: c, or None.
        dtype: of inputs and table.
    """

    batch_size: int
    length: int
    width: int
    vocabulary_size: int
    soft_cap: float | None = None
    dtype: str = "float32"

    def __str__(self) -> str:
        sizes = f"B{self.batch_size}-T{self.length}-D{self.width}-V{self.vocabulary_size}"
        return "-".join([sizes, self.dtype, *described(capped=self.soft_cap is not None)])

    @property
    def shape(self):
        """Of the inputs."""
        return self.batch_size, self.length, self.width

    @property
    def result_dtypes(self):
        """Losses are at least float32."""
        return [self.accumulation_dtype]

    @property
    def precisions(self):
        """The matrix product is in the inputs' dtype."""
        return [self.dtype]

    @property
    def targets(self):
        """Ids in the vocabulary, `(B, T)`."""
        size = self.shape[:2]
        return np.random.default_rng(1).integers(self.vocabulary_size, size=size, dtype="int32")

    def arguments(self):
        """Inputs and table."""
        generator = np.random.default_rng(0)
        arrays = [generator.normal(size=shape) for shape in (self.shape, (self.vocabulary_size, self.width))]
        return [Argument(rounded(array, self.dtype), self.dtype) for array in arrays]

    def call(self, *tensors):
        """The losses."""
        inputs, table = tensors
        return [linear_cross_entropy(inputs, table, self.targets, soft_cap=self.soft_cap)]

    def definition(self, *arrays):
        """The losses."""
        return [reference.linear_cross_entropy(*arrays, self.targets, self.soft_cap)]

    def gradients(self, weights, *arrays):
        """For inputs and table."""
        return list(reference.linear_cross_entropy_gradient(*weights, *arrays, self.targets, self.soft_cap))


CASES = tuple(
    LossCase(*sizes, soft_cap=soft_cap, dtype=dtype)
    for sizes in [
        (1, 1, 3, 5),
        (3, 2, 4, 7),
        (2, 63, 5, 11),
        (1, 64, 3, 2),
        (2, 65, 4, 13),
        (3, 0, 2, 4),
        (0, 3, 2, 4),
        (2, 3, 0, 4),
    ]
    for soft_cap in (None, 1.5)
    for dtype in ("float32", "bfloat16")
)


def timed(device: str) -> tuple[LossCase, ...]:
    """A small model's batch first; on accelerators RecurrentGemma-2B's vocabulary."""
    small = LossCase(8, 512, 512, 8192)
    return (small,) if device == "cpu" else (small, LossCase(1, 2048, 2560, 256_000, 30.0, "bfloat16"))
