"""From segment ids to the resets and the mask that cut every layer at the same place."""

from typing import NamedTuple

from keras import ops

from keras_griffin.shapes import Tensor


class Boundaries(NamedTuple):
    """Where documents start and where there is padding."""

    #: `(B, T)` bool: the first step of a document that follows another.
    reset: Tensor
    #: `(B, T)` bool: False at padding.
    mask: Tensor
    #: `(B,)` int32: the segment id of each row's newest document, 0 before the first.
    segment: Tensor


def document_boundaries(segment_ids: Tensor, segment: Tensor) -> Boundaries:
    """Find the steps at which a row's document changes.

    Args:
        segment_ids: `(B, T)` integers: 0 is padding, equal positive ids are one document.
        segment: `(B,)` int32: the id of the document that each row is in, 0 for none.

    Returns:
        `Boundaries`.
    """
    segment_ids = ops.cast(segment_ids, "int32")
    mask = segment_ids > 0
    # The id before each step, padding skipped: real ids moved to the front, looked up by how many came before.
    known = ops.concatenate([ops.expand_dims(segment, 1), ops.take_along_axis(segment_ids, real_first(mask), 1)], 1)
    real = ops.cast(mask, "int32")
    before = ops.cumsum(real, axis=1) - real
    previous = ops.take_along_axis(known, before, axis=1)
    reset = mask & (previous > 0) & (segment_ids != previous)
    newest = ops.take_along_axis(known, ops.sum(real, axis=1, keepdims=True), axis=1)
    return Boundaries(reset, mask, newest[:, 0])


def real_first(mask: Tensor) -> Tensor:
    """The order `(B, T)` that puts each row's real steps first, each kind in its own order."""
    length = ops.shape(mask)[1]
    steps = ops.arange(length, dtype="int32")
    return ops.argsort(ops.where(mask, steps, length + steps), axis=1)
