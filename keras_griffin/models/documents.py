"""From segment ids to the resets and the mask that every layer uses."""

from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_griffin.ops.shared.arguments import shape_fits
from keras_griffin.ops.shared.compaction import real_steps_first, take_steps
from keras_griffin.shapes import Tensor

#: The largest segment id that int32 can hold.
LARGEST_ID = 2**31 - 1


class Boundaries(NamedTuple):
    """Where documents start and where there is padding."""

    #: `(B, T)` bool: the first step of a document that follows another.
    reset: Tensor
    #: `(B, T)` bool: False at padding.
    mask: Tensor
    #: `(B,)` int32: the segment id of each row's newest document, 0 before the first.
    segment: Tensor


def document_boundaries(segment_ids: Tensor, segment: Tensor) -> Boundaries:
    """Where the documents of `segment_ids (B, T)` start, in rows whose last document so far is `segment (B,)`, or 0."""
    segment_ids = ops.cast(segment_ids, "int32")
    mask = segment_ids > 0
    # The previous id of each step, skipping padding: real ids are moved to the front and looked up by their count.
    known = ops.concatenate([ops.expand_dims(segment, 1), take_steps(segment_ids, real_steps_first(mask)[0])], 1)
    real = ops.cast(mask, "int32")
    before = ops.cumsum(real, axis=1) - real
    previous = ops.take_along_axis(known, before, axis=1)
    reset = mask & (previous > 0) & (segment_ids != previous)
    newest = ops.take_along_axis(known, ops.sum(real, axis=1, keepdims=True), axis=1)
    return Boundaries(reset, mask, newest[:, 0])


def newest_step(x: Tensor, mask: Tensor | None, before: Tensor) -> Tensor:
    """The last step `(B, D)` of each row of `x (B, T, D)` where `mask (B, T)` is True; without any, `before (B, D)`."""
    if 0 in x.shape[:2]:
        return before
    if mask is None:
        return x[:, -1]
    steps = ops.where(mask, ops.arange(ops.shape(x)[1], dtype="int32"), -1)
    newest = ops.max(steps, axis=1, keepdims=True)
    return ops.where(newest >= 0, take_steps(x, ops.maximum(newest, 0))[:, 0], before)


def check_segment_ids(function_name: str, segment_ids: Tensor, token_ids: Tensor):
    """Refuse segment ids `(B, T)` that are known not to fit their tokens; the values of tensors are not checked."""
    segment_ids = np.asarray(segment_ids) if isinstance(segment_ids, (list, tuple)) else segment_ids
    if None in (getattr(ids.shape, "rank", 2) for ids in (token_ids, segment_ids)):
        # TensorFlow may not know the number of axes.
        return
    shape = tuple(token_ids.shape)
    dtype = keras.backend.standardize_dtype(segment_ids.dtype)
    if "int" not in dtype or not shape_fits(segment_ids, shape):
        raise ValueError(
            f"{function_name}: segment_ids must be integers, one for each token, shape {shape}. "
            f"Got dtype {dtype} and shape {tuple(segment_ids.shape)}."
        )
    if not isinstance(segment_ids, np.ndarray) or not segment_ids.size:
        return
    least, greatest = segment_ids.min(), segment_ids.max()
    if least < 0:
        raise ValueError(f"{function_name}: segment_ids must be at least 0. Got {least}.")
    if greatest > LARGEST_ID:
        raise ValueError(f"{function_name}: segment_ids must be at most {LARGEST_ID}. Got {greatest}.")


def without_padding(token_ids: Tensor, segment_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Token ids `(B, T)` with 0 at padding, where any id is allowed, and segment ids of the same known shape."""
    # TensorFlow may discover only here that their number differs.
    segment_ids = ops.reshape(segment_ids, ops.shape(token_ids))
    return ops.where(segment_ids > 0, token_ids, ops.zeros_like(token_ids)), segment_ids


@keras.saving.register_keras_serializable("keras_griffin")
class PackedRows(keras.layers.Layer):
    """Move the real tokens of packed rows to the front, and mark where their documents start.

    Every layer of a model is causal: padding after all real tokens needs no mask at all.
    """

    def call(self, token_ids, segment_ids):
        """`(token_ids, reset, places)`, each `(B, T)`; `take_steps(y, places)` moves outputs back."""
        check_segment_ids("packed", segment_ids, token_ids)
        token_ids, segment_ids = without_padding(token_ids, ops.cast(segment_ids, "int32"))
        sources, places = real_steps_first(segment_ids > 0)
        token_ids, segment_ids = take_steps(token_ids, sources), take_steps(segment_ids, sources)
        return token_ids, document_boundaries(segment_ids, ops.zeros_like(segment_ids[:, 0])).reset, places

    def compute_output_spec(self, token_ids, segment_ids):
        """Shapes and dtypes of the outputs of `call`."""
        return tuple(keras.KerasTensor(token_ids.shape, dtype) for dtype in ("int32", "bool", "int32"))
