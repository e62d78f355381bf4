"""Shared by implementations: masked steps are moved away, and NaN and infinity kept to the queries that see them."""

import functools

import keras
from keras import ops

from keras_griffin.ops.shared.change_gradient import change_gradient
from keras_griffin.ops.shared.compaction import real_steps_first, real_steps_last, take_steps
from keras_griffin.ops.shared.padding import padded_steps

#: The norm limit of a step's heads together; the product of two such norms is below the 1e30 that hides a logit.
LARGEST_NORM = 1e14
#: More steps than there are: a window that is no limit, and a place after all others.
LONGEST = 2**30


def attend_with_marks(kernel, running_max, query, key, value, window, segment_ids, mask):
    """Local attention through `kernel(query, key, value, window, ids)`, whose arguments are finite.

    With `ids`, `(B, S)` int32 or None, a query sees the keys of its window that have the id of its own key.
    `running_max` is the largest value so far along axis 1 of `(B, S)` int32. The other arguments are the op's.
    """

    def attend(query, key, value, segment_ids, mask):
        query, key, value, whole_query, whole_key = finite_only(query, key, value)
        ids, lost = _ids_and_lost(ops.logical_not(whole_key), window, segment_ids, mask, running_max)
        outputs = kernel(query, key, value, window, ids)
        own = slice(key.shape[1] - query.shape[1], None)
        return nan_unless(outputs, ops.logical_and(whole_query, ops.logical_not(lost[:, own])))

    return past_masked_steps(attend, query, key, value, segment_ids, mask)


def past_masked_steps(attend, query, key, value, segment_ids, mask):
    """`attend(query, key, value, segment_ids, mask)`, the masked steps at the front, so that windows are contiguous."""
    if mask is None:
        return attend(query, key, value, segment_ids, None)
    real_query = mask[:, ops.shape(key)[1] - ops.shape(query)[1] :]
    query_sources, query_places = real_steps_last(real_query)
    sources, _ = real_steps_last(mask)
    query = take_steps(query, query_sources)
    key, value = take_steps(key, sources), take_steps(value, sources)
    segment_ids = None if segment_ids is None else take_steps(segment_ids, sources)
    outputs = attend(query, key, value, segment_ids, take_steps(mask, sources))
    return masked(take_steps(outputs, query_places), real_query)


def keep_gradients_apart(outputs, query, key, value, lost_keys, marks):
    """The outputs, with a gradient in which a query's cotangent affects only the steps which that query sees.

    A cotangent that is not finite would affect others: its product with a weight of zero is NaN. So it is replaced by
    zero, and NaN is added to the gradient of the query and of the keys and values that it sees.

    `lost_keys(lost, S, *marks)`, which closes over no tensor, takes the queries with such a cotangent, `(B, T)` bool,
    and returns those that see anything, and the keys that they see, `(B, S)` bool.
    """
    rule = functools.partial(_gradient_apart, lost_keys)
    return change_gradient(rule, outputs, (query, key, value), marks)


def _gradient_apart(lost_keys, cotangent, shapes, *marks):
    whole = _is_finite(cotangent)
    lost_query, lost_key = lost_keys(ops.logical_not(whole), shapes[1][1], *marks)

    def nan_where(lost, shape):
        marked = ops.cast(ops.where(lost, float("nan"), 0.0), cotangent.dtype)
        return ops.broadcast_to(marked[..., None, None], shape)

    gradients = (nan_where(lost, shape) for lost, shape in zip((lost_query, lost_key, lost_key), shapes, strict=True))
    return masked(cotangent, whole), *gradients


def lost_in_window(lost, keys, segment_ids, mask, *, window=LONGEST):
    """The `lost_keys` of `keep_gradients_apart`, for a window: the lost queries that see anything, and their keys."""
    history = keys - ops.shape(lost)[1]
    lost = padded_steps(lost, history)
    places = ops.broadcast_to(ops.arange(keys, dtype="int32"), ops.shape(lost))
    if mask is not None:
        lost = ops.logical_and(lost, mask)
        # Masked steps take no place in a window.
        places = ops.cumsum(ops.cast(mask, "int32"), axis=1)
    lost_query = lost[:, history:]
    if segment_ids is not None:
        # Group the steps by segment, in their order: sorting is stable on every backend with gradients.
        steps = ops.argsort(segment_ids, axis=1)
        lost, places, segment_ids = (ops.take_along_axis(x, steps, axis=1) for x in (lost, places, segment_ids))
    # The next lost query has as many lost ones before it as the key. If there is none, a step that is not lost.
    before = ops.cumsum(ops.cast(lost, "int32"), axis=1) - ops.cast(lost, "int32")
    following = ops.take_along_axis(real_steps_first(lost)[0], before, axis=1)
    sees = ops.take_along_axis(lost, following, axis=1)
    sees = ops.logical_and(sees, ops.take_along_axis(places, following, axis=1) - places < window)
    if segment_ids is not None:
        sees = ops.logical_and(sees, ops.take_along_axis(segment_ids, following, axis=1) == segment_ids)
        sees = ops.take_along_axis(sees, ops.argsort(steps, axis=1), axis=1)
    return lost_query, sees if mask is None else ops.logical_and(sees, mask)


def finite_only(query, key, value):
    """`(query, key, value, whole_query, whole_key)`: zero at steps that are not finite, and which steps are, bool.

    Zero, because even at a weight of zero they would spoil a matrix product.
    """
    whole_query = _is_finite(query)
    whole_key = ops.logical_and(_is_finite(key), _is_finite(value))
    return masked(query, whole_query), masked(key, whole_key), masked(value, whole_key), whole_query, whole_key


def masked(x, keep):
    """`x (B, T, N, H)` where `keep (B, T)` is True, and zero elsewhere."""
    return ops.where(ops.expand_dims(keep, (2, 3)), x, 0)


def nan_unless(outputs, whole):
    """Outputs `(B, T, N, H)` where `whole (B, T)` is True, and NaN elsewhere."""
    return ops.where(ops.expand_dims(whole, (2, 3)), outputs, float("nan"))


def _is_finite(x):
    """Which steps of `(B, T, N, H)` are finite throughout, and not practically infinite: `(B, T)` bool."""
    # One pass; a comparison with NaN is False.
    dtype = keras.backend.standardize_dtype(x.dtype)
    return ops.norm(ops.cast(x, "float64" if dtype == "float64" else "float32"), axis=(-2, -1)) < LARGEST_NORM


def _ids_and_lost(marked, window, segment_ids, mask, running_max):
    """The ids for a kernel, 0 for masked steps and segments from 1, and which queries, one a key, see a marked key.

    All are `(B, S)`; `mask` is False only at the front. The queries at masked steps are undefined.
    """
    marked = marked if mask is None else ops.logical_and(marked, mask)
    places = ops.broadcast_to(ops.arange(marked.shape[1], dtype="int32"), ops.shape(marked))
    if segment_ids is None:
        lost = places - running_max(ops.where(marked, places, -window)) < window
        return None if mask is None else ops.cast(mask, "int32"), lost
    # Steps of one segment stay in order: sorting is stable on JAX and PyTorch, which have the kernels.
    steps = ops.argsort(segment_ids, axis=1)
    back = ops.argsort(steps, axis=1)
    ordered, marked = ops.take_along_axis(segment_ids, steps, axis=1), ops.take_along_axis(marked, steps, axis=1)
    first = ops.concatenate([ops.ones_like(marked[:, :1]), ordered[:, 1:] != ordered[:, :-1]], axis=1)
    # Renumbered, because ids may have any integer dtype and use its full range.
    ids = ops.take_along_axis(ops.cumsum(ops.cast(first, "int32"), axis=1), back, axis=1)
    # The newest marked key of the same segment, or the segment's first key if there is none.
    newest = running_max(ops.where(ops.logical_or(marked, first), places, 0))
    near = steps - ops.take_along_axis(steps, newest, axis=1) < window
    lost = ops.logical_and(near, ops.take_along_axis(marked, newest, axis=1))
    return ids if mask is None else ops.where(mask, ids, 0), ops.take_along_axis(lost, back, axis=1)
