"""Where steps stand in the blocks and columns of their documents."""

from typing import NamedTuple

from keras import ops

from keras_griffin.ops.shared.compaction import at_latest
from keras_griffin.shapes import Tensor


class Places(NamedTuple):
    """Of each step, `(B or 1, S)` int32: its remainder j mod l, and numbers of its column and of its block.

    Two steps of a row have the same column, or block, if the numbers are equal: they are in one document, and agree in
    j mod l, or in floor(j / l). A block's number is the index of its first step.
    """

    remainder: Tensor
    column: Tensor
    block: Tensor

    def is_summary(self, stride: int, summary_steps: int) -> Tensor:
        """Whether the step is one of the last of its block."""
        return self.remainder >= stride - summary_steps


def places_of(span, stride: int, segment_ids: Tensor | None, mask: Tensor | None) -> Places:
    """The places of `span` steps, of which the masked ones are at the front and the segments contiguous."""
    steps = ops.expand_dims(ops.arange(span, dtype="int32"), 0)
    start = 0
    if segment_ids is not None or mask is not None:
        like = segment_ids if mask is None else mask
        steps = ops.broadcast_to(steps, ops.shape(like))
        new = ops.zeros(ops.shape(like), "bool")
        if segment_ids is not None:
            new = segment_ids != _before(segment_ids)
        if mask is not None:
            new = ops.logical_or(new, ops.logical_and(mask, ops.logical_not(_before(mask))))
        start = at_latest(new, steps)
    remainder = (steps - start) % stride
    return Places(remainder, start + remainder, steps - remainder)


def _before(marks):
    """The mark of the step before; of the first, its own."""
    return ops.concatenate([marks[:, :1], marks[:, :-1]], axis=1)
