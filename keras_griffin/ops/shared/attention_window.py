"""Softmax attention to a window of keys by blocks of queries, in `keras.ops`.

A block of Q queries attends to its own keys and to the earlier blocks that its windows reach, in time and
memory O(T (W + Q)), forward and backward. If there are few keys, all queries form one block.
"""

from keras import ops

from keras_griffin import backends
from keras_griffin.ops.shared.attention import Attended, softmax_attention
from keras_griffin.ops.shared.padding import padded_steps


def _block_length(window):
    """Q, the queries of a block: a quarter of the window, as measured, and at least 16."""
    return max(16, -(-window // 4))


def _reach(window):
    """How many keys before its own a block attends to: W - 1, in whole blocks."""
    block = _block_length(window)
    return -(-(window - 1) // block) * block


def are_few(num_keys, window) -> bool:
    """Whether all queries form one block, in which masked keys may be anywhere."""
    if isinstance(num_keys, int):
        return num_keys <= _reach(window) + _block_length(window)
    # PyTorch, whose free sizes are no None, can't export a free number of blocks.
    return num_keys is not None and backends.active().is_exported()


def attention_in_window(query, key, value, whole_key, segment_ids, mask, window, with_log_sum=False) -> Attended:
    """Attention of `(B, T, N, H)` to the newest W of `(B, S, K, H)`; masked steps are at the front if keys are not few.

    All are finite and the keys scaled; `whole_key (B, S)` says which of them were. `segment_ids` may have one row.
    """
    by_key = [key, value, whole_key, segment_ids, mask]
    length = query.shape[1]
    if are_few(key.shape[1], window):
        return _in_one_block(query, *by_key, window, with_log_sum)
    if length is not None and are_few(length + window - 1, window):
        newest = [None if x is None else x[:, -(length + window - 1) :] for x in by_key]
        return _in_one_block(query, *newest, window, with_log_sum)
    return _in_blocks(query, *by_key, window, with_log_sum)


def _in_one_block(query, key, value, whole_key, segment_ids, mask, window, with_log_sum):
    """All queries against all keys; masked keys may be anywhere."""
    span = ops.shape(key)[1]
    own = slice(span - ops.shape(query)[1], None)
    if mask is None:
        place = ops.arange(span, dtype="int32")[None]
    else:
        place = ops.cumsum(ops.cast(mask, "int32"), axis=1)
    # Keras on OpenVINO misplaces a new axis that is indexed after a slice with bounds.
    distance = ops.expand_dims(place[:, own], 2) - ops.expand_dims(place, 1)
    visible = ops.logical_and(distance >= 0, distance < window)
    if mask is not None:
        visible = ops.logical_and(visible, ops.expand_dims(mask, 1))
    if segment_ids is not None:
        same = ops.expand_dims(segment_ids[:, own], 2) == ops.expand_dims(segment_ids, 1)
        visible = ops.logical_and(visible, same)
    blocks = (ops.expand_dims(x, 1) for x in (query, key, value, whole_key, visible))
    return Attended(*(None if x is None else x[:, 0] for x in softmax_attention(*blocks, with_log_sum)))


def _in_blocks(query, key, value, whole_key, segment_ids, mask, window, with_log_sum):
    """Blocks of queries against the keys that their windows reach; masked steps are at the front."""
    block, reach = _block_length(window), _reach(window)
    length, span = ops.shape(query)[1], ops.shape(key)[1]
    blocks = -(-length // block)
    unused = blocks * block - length

    def own(x):
        """`(B, T, ...)` to `(B, n, Q, ...)`."""
        rows, _, *rest = ops.shape(x)
        return ops.reshape(padded_steps(x, 0, unused), (rows, blocks, block, *rest))

    def reached(x):
        """`(B, S, ...)` to `(B, n, reach + Q, ...)`."""
        rows, _, *rest = ops.shape(x)
        # The first block reaches back to `reach` keys before the first query's own.
        x = padded_steps(x, reach, unused)[:, span - length :]
        x = ops.reshape(x, (rows, blocks + reach // block, block, *rest))
        return ops.concatenate([x[:, i : i + blocks] for i in range(reach // block + 1)], axis=2)

    distance = reach + ops.arange(block)[:, None] - ops.arange(reach + block)
    visible = ops.logical_and(distance >= 0, distance < window)
    present = ops.ones((1, span), "bool") if mask is None else mask
    visible = ops.logical_and(visible, ops.expand_dims(reached(present), 2))
    if segment_ids is not None:
        same = own(segment_ids[:, span - length :])[..., None] == reached(segment_ids)[:, :, None, :]
        visible = ops.logical_and(visible, same)
    attended = softmax_attention(own(query), reached(key), reached(value), reached(whole_key), visible, with_log_sum)

    def joined(x):
        """`(B, n, Q, ...)` to `(B, T, ...)`."""
        rows, _, _, *rest = ops.shape(x)
        return ops.reshape(x, (rows, blocks * block, *rest))[:, :length]

    return Attended(*(None if x is None else joined(x) for x in attended))
