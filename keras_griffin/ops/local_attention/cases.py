"""The calls on which `local_attention` is tested and timed."""

from dataclasses import dataclass, replace

import numpy as np

from keras_griffin.ops.case import Argument, Case, Functions, rounded
from keras_griffin.ops.local_attention import local_attention, reference


@dataclass(frozen=True)
class AttentionCase(Case):
    """One call of `local_attention`: queries `(B, T, N, H)` and keys `(B, S, K, H)`.

    Segments are two, in any order. Masked steps hold NaN: first, last and in between, and all of the last row.
    """

    functions = Functions(local_attention, reference.local_attention, reference.local_attention_gradient)
    length: int
    span: int
    window: int | None
    num_key_heads: int
    batch_size: int = 3
    num_heads: int = 4
    channels: int = 4
    dtype: str = "float32"
    has_segments: bool = False
    has_mask: bool = False

    @property
    def shape(self):
        return self.batch_size, self.length, self.num_heads, self.channels

    @property
    def marks(self):
        """Segments and mask, as arguments of the op."""
        generator, shape = np.random.default_rng(1), (self.batch_size, self.span)
        segment_ids, mask = generator.integers(0, 2, size=shape), generator.random(shape) < 0.6
        mask[:1, :2], mask[:1, 2:6], mask[2:] = False, True, False
        mask[1:2, :1], mask[1:2, max(2, self.span - 2) :] = True, False
        return {
            "segment_ids": segment_ids.astype("int32") if self.has_segments else None,
            "mask": mask if self.has_mask else None,
        }

    @property
    def options(self):
        return {"window": self.window, **self.marks}

    def arguments(self):
        arrays, mask = self.seen(), self.marks["mask"]
        for array in arrays:
            if mask is not None:
                array[~mask[:, self.span - array.shape[1] :]] = np.nan
        return [Argument(array, self.dtype) for array in arrays]

    def seen(self):
        """Query, key and value with numbers everywhere."""
        # Larger numbers sharpen the softmax until the rounding of bfloat16 exceeds the table of tolerances.
        generator = np.random.default_rng(0)
        keys = self.batch_size, self.span, self.num_key_heads, self.channels
        return [rounded(1.5 * generator.normal(size=shape), self.dtype) for shape in (self.shape, keys, keys)]


def with_marks(case: AttentionCase) -> AttentionCase:
    """The same call with segments and a mask."""
    return replace(case, has_segments=True, has_mask=True)


#: Together they take every path of the portable implementation.
PLAIN = {
    "one step": AttentionCase(1, 1, 7, 2),
    "one block": AttentionCase(7, 7, 7, 2),
    "window longer than the sequence": AttentionCase(7, 7, 100, 1),
    "blocks": AttentionCase(65, 65, 7, 2),
    "window of one": AttentionCase(65, 65, 1, 4),
    "blocks after history": AttentionCase(65, 97, 40, 1),
    "newest of many keys": AttentionCase(1, 97, 7, 2),
    "blocks of a kernel": AttentionCase(150, 160, 140, 1, channels=16),
}
CASES = (
    *map(with_marks, PLAIN.values()),
    # The same paths without marks, which are then no arguments.
    *(PLAIN[name] for name in ("one block", "blocks", "newest of many keys", "blocks of a kernel")),
    replace(PLAIN["blocks"], has_mask=True),
    replace(PLAIN["blocks"], has_segments=True),
    replace(PLAIN["blocks"], dtype="bfloat16", has_segments=True, has_mask=True),
    # PyTorch's kernels don't support narrower heads.
    replace(PLAIN["newest of many keys"], channels=16, has_segments=True, has_mask=True),
    # One number, no queries, and no rows.
    AttentionCase(1, 1, 1, 1, 1, 1, 1),
    with_marks(AttentionCase(0, 5, 7, 2)),
    with_marks(AttentionCase(7, 7, 7, 2, batch_size=0)),
    replace(PLAIN["blocks"], channels=16, dtype="bfloat16", has_mask=True),
)


def timed(device: str) -> tuple[AttentionCase, ...]:
    """A small model's batch, and RecurrentGemma-2B's layer at half its context."""
    small, large = AttentionCase(512, 512, 256, 1, 8, 8, 64), AttentionCase(4096, 4096, 1024, 1, 1, 10, 256)
    return (small, large) if device == "cpu" else (small, large, replace(large, dtype="bfloat16"))
