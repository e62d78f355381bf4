"""What implementations share: masked steps out of the way, and what is not finite kept from all that don't see it."""

import keras
from keras import ops

from keras_griffin.ops.compaction import real_steps_last, take_steps

#: Of a step's heads together; the product of two is below the 1e30 that hides a logit.
LARGEST_NORM = 1e14


def attend_with_marks(kernel, running_max, query, key, value, window, segment_ids, mask):
    """Local attention through a kernel that knows one mark, an integer for each key.

    Args:
        kernel: a function of `(query, key, value, window, ids)` and its outputs. What it gets is finite. With `ids`,
            `(B, S)` int32 or None, a query sees those keys of its window that have the id of its own key.
        running_max: the largest value so far along axis 1 of `(B, S)` int32.
        query: `(B, T, N, H)`; this and what follows are the arguments of the op.
        key: `(B, S, K, H)`.
        value: `(B, S, K, H)`.
        window: W.
        segment_ids: `(B, S)` integers or None.
        mask: `(B, S)` bool or None.

    Returns:
        `(B, T, N, H)`, as the op's contract has it.
    """

    def attend(query, key, value, segment_ids, mask):
        query, key, value, whole_query, whole_key = finite_only(query, key, value)
        ids, lost = _ids_and_lost(ops.logical_not(whole_key), window, segment_ids, mask, running_max)
        outputs = kernel(query, key, value, window, ids)
        own = slice(key.shape[1] - query.shape[1], None)
        return lose(outputs, ops.logical_and(whole_query, ops.logical_not(lost[:, own])))

    return past_masked_steps(attend, query, key, value, segment_ids, mask)


def past_masked_steps(attend, query, key, value, segment_ids, mask):
    """Attention with the masked steps moved to the front, so that every window is one run of keys.

    Args:
        attend: a function of `(query, key, value, segment_ids, mask)` and its outputs. Masked steps stand at the front.
        query: `(B, T, N, H)`; this and what follows are the arguments of the op.
        key: `(B, S, K, H)`.
        value: `(B, S, K, H)`.
        segment_ids: `(B, S)` integers or None.
        mask: `(B, S)` bool or None.

    Returns:
        The outputs `(B, T, N, H)` in the order of the queries, zero where they are masked.
    """
    if mask is None:
        return attend(query, key, value, segment_ids, None)
    real_query = mask[:, ops.shape(key)[1] - ops.shape(query)[1] :]
    query_sources, query_places = real_steps_last(real_query)
    sources, _ = real_steps_last(mask)
    query = take_steps(query, query_sources)
    key, value = take_steps(key, sources), take_steps(value, sources)
    segment_ids = None if segment_ids is None else take_steps(segment_ids, sources)
    outputs = attend(query, key, value, segment_ids, take_steps(mask, sources))
    return only(take_steps(outputs, query_places), real_query)


def finite_only(query, key, value):
    """Zero in place of what is not finite, which would spoil matrix products even at weight zero.

    What is as good as infinite counts as that: a product of two such numbers would not be hidden, or not be finite.

    Returns:
        `(query, key, value, whole_query, whole_key)`: the last two bool, `(B, T)` and `(B, S)`, say which steps were
        finite throughout, for keys in both key and value.
    """
    whole_query = _is_finite(query)
    whole_key = ops.logical_and(_is_finite(key), _is_finite(value))
    return only(query, whole_query), only(key, whole_key), only(value, whole_key), whole_query, whole_key


def only(x, keep):
    """`x (B, T, N, H)` where `keep (B, T)` is True, and zero elsewhere."""
    return ops.where(keep[..., None, None], x, 0)


def lose(outputs, whole):
    """Outputs `(B, T, N, H)` where `whole (B, T)` is True, and NaN elsewhere."""
    return ops.where(whole[..., None, None], outputs, float("nan"))


def _is_finite(x):
    """Which steps of `(B, T, N, H)` are finite throughout, and not as good as infinite: `(B, T)` bool."""
    # One pass; a comparison with NaN is False.
    dtype = keras.backend.standardize_dtype(x.dtype)
    return ops.norm(ops.cast(x, "float64" if dtype == "float64" else "float32"), axis=(-2, -1)) < LARGEST_NORM


def _ids_and_lost(marked, window, segment_ids, mask, running_max):
    """What a kernel gets in place of segments and mask, and which queries see a marked key.

    Args:
        marked: `(B, S)` bool.
        window: W.
        segment_ids: `(B, S)` integers or None.
        mask: `(B, S)` bool, False at the front alone, or None.
        running_max: as in `attend_with_marks`.

    Returns:
        `(ids, lost)`. ids `(B, S)` int32 or None: 0 for masked steps, segments counted from 1. lost `(B, S)` bool, for
        a query at every key; of masked ones it says nothing.
    """
    marked = marked if mask is None else ops.logical_and(marked, mask)
    places = ops.broadcast_to(ops.arange(marked.shape[1], dtype="int32"), ops.shape(marked))
    if segment_ids is None:
        lost = places - running_max(ops.where(marked, places, -window)) < window
        return None if mask is None else ops.cast(mask, "int32"), lost
    # Steps of one segment stay in their own order: on JAX and PyTorch, where kernels are, sorting is stable.
    steps = ops.argsort(segment_ids, axis=1)
    back = ops.argsort(steps, axis=1)
    ordered, marked = ops.take_along_axis(segment_ids, steps, axis=1), ops.take_along_axis(marked, steps, axis=1)
    first = ops.concatenate([ops.ones_like(marked[:, :1]), ordered[:, 1:] != ordered[:, :-1]], axis=1)
    # Counted, because ids may be of any integer dtype, and use all of it.
    ids = ops.take_along_axis(ops.cumsum(ops.cast(first, "int32"), axis=1), back, axis=1)
    # The newest marked key of the same segment, or the segment's first where there is none.
    newest = running_max(ops.where(ops.logical_or(marked, first), places, 0))
    near = steps - ops.take_along_axis(steps, newest, axis=1) < window
    lost = ops.logical_and(near, ops.take_along_axis(marked, newest, axis=1))
    return ids if mask is None else ops.where(mask, ids, 0), ops.take_along_axis(lost, back, axis=1)
