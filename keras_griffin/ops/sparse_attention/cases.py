"""The calls on which `sparse_attention` is tested and timed."""

from dataclasses import dataclass, replace

import numpy as np

from keras_griffin.ops.case import Functions
from keras_griffin.ops.local_attention.cases import AttentionCase, with_marks
from keras_griffin.ops.sparse_attention import reference, sparse_attention


@dataclass(frozen=True)
class SparseCase(AttentionCase):
    """One call of `sparse_attention`; its marks are those of `AttentionCase`, but segments are contiguous."""

    functions = Functions(sparse_attention, reference.sparse_attention, reference.sparse_attention_gradient)
    window: int | None = None
    num_key_heads: int = 1
    stride: int = 4
    pattern: str = "strided"
    summary_steps: int = 1

    @property
    def marks(self):
        marks = super().marks
        if self.has_segments:
            news = np.random.default_rng(2).random((self.batch_size, self.span)) < 0.1
            marks["segment_ids"] = np.cumsum(news, axis=1).astype("int32")
        return marks

    @property
    def options(self):
        names = ("stride", "pattern", "summary_steps")
        return {**{name: getattr(self, name) for name in names}, **self.marks}


def fixed(case: SparseCase, summary_steps: int) -> SparseCase:
    """The same call with the other pattern."""
    return replace(case, pattern="fixed", summary_steps=summary_steps)


#: Fewer steps than a stride, whole strides, and neither; the tests' blocks of queries are of 32.
PLAIN = {
    "one step": SparseCase(1, 1),
    "less than a stride": SparseCase(3, 5, num_key_heads=2, stride=8),
    "whole strides": SparseCase(64, 64),
    "after history": SparseCase(67, 90, num_key_heads=2, stride=5),
    "many strides": SparseCase(75, 81, stride=2, batch_size=2),
}
CASES = (
    *(with_marks(PLAIN[name]) for name in ("less than a stride", "after history", "many strides")),
    *(with_marks(fixed(PLAIN[name], 3)) for name in ("one step", "whole strides", "after history")),
    PLAIN["after history"],
    fixed(PLAIN["whole strides"], 1),
    replace(PLAIN["whole strides"], has_segments=True),
    replace(PLAIN["whole strides"], has_mask=True, stride=1),
    with_marks(replace(PLAIN["after history"], dtype="bfloat16")),
    # One number, no queries, and no rows.
    SparseCase(1, 1, None, 1, 1, 1, 1),
    with_marks(SparseCase(0, 5)),
    with_marks(SparseCase(7, 7, batch_size=0)),
)


def timed(device: str) -> tuple[SparseCase, ...]:
    """A small model's batch, and a layer of a large one at a context of 16,384, in both patterns."""
    small = SparseCase(2048, 2048, None, 1, 2, 8, 64, stride=64)
    large = SparseCase(16384, 16384, None, 1, 1, 16, 128, stride=128)
    sizes = (small, large) if device == "cpu" else (small, large, replace(large, dtype="bfloat16"))
    return tuple(case for size in sizes for case in (size, fixed(size, 8)))
