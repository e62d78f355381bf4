"""Softmax attention of blocks of queries to keys, in `keras.ops`: what the portable implementations are made of."""

from typing import NamedTuple

import keras
from keras import ops

from keras_griffin import backends
from keras_griffin.ops.shared.padding import padded_steps
from keras_griffin.shapes import Tensor

#: Added to the logit of a key that a query does not see: its weight is then exactly zero.
_HIDDEN = -1e30
#: The queries of a block that is made again for the gradient.
BLOCK = 512
#: The loops of a call on JAX: the keys after a loop's last query are skipped, and each is compiled separately.
LOOPS = 8


class Attended(NamedTuple):
    """What queries get from the keys that they see."""

    #: `(..., Q, N, H)`.
    outputs: Tensor
    #: `(..., Q)` bool: whether everything that the query sees was finite.
    whole: Tensor
    #: `(..., Q, N)`, at least float32: the logarithm of the sum of the weights; None if it wasn't asked for.
    log_sum: Tensor | None


class Seen(NamedTuple):
    """Which keys a query sees: those of its segment, in no later place than `newest`."""

    #: `(B or 1, T)` int32.
    newest: Tensor
    #: `(B or 1, S)` int32.
    places: Tensor
    #: `(B, T)` and `(B, S)` integers; None for one segment.
    query_ids: Tensor | None
    key_ids: Tensor | None


def attention_in_turn(query, key, value, whole_key, seen: Seen, keys_up_to, with_log_sum=False) -> Attended:
    """Attention of `(B, T, N, H)` to `(B, S, K, H)`, one block of queries after the other, in memory O(Q S).

    Each block is made again for the gradient. `keys_up_to(t)` is how many keys the first t queries see at most. If a
    length is unknown while the call is traced, all queries are one block.
    """
    has_ids = seen.key_ids is not None
    of_queries = [query, seen.newest, *([seen.query_ids] if has_ids else [])]
    # `keras.remat` takes and returns no booleans on TensorFlow.
    of_keys = [key, value, ops.cast(whole_key, "int32"), seen.places, *([seen.key_ids] if has_ids else [])]

    def attend(query, newest, *others):
        own_ids, (key, value, whole_key, places, *key_ids) = others[:has_ids], others[has_ids:]
        visible = ops.expand_dims(places, 1) <= ops.expand_dims(newest, 2)
        if has_ids:
            visible = ops.logical_and(visible, ops.expand_dims(own_ids[0], 2) == ops.expand_dims(key_ids[0], 1))
        blocks = (ops.expand_dims(x, 1) for x in (query, key, value, whole_key > 0, visible))
        outputs, whole, log_sum = softmax_attention(*blocks, with_log_sum)
        results = outputs, ops.cast(whole, "float32"), log_sum
        return [x[:, 0] for x in results if x is not None]

    def attended(outputs, whole, log_sum=None):
        return Attended(outputs, whole > 0.0, log_sum)

    length = query.shape[1]
    if not isinstance(length, int) or not isinstance(key.shape[1], int) or length <= BLOCK:
        return attended(*attend(*of_queries, *of_keys))
    # PyTorch's transforms can't follow PyTorch's way to repeat.
    once = not backends.has_gradients() or backends.active().is_transformed()
    again = attend if once else keras.remat(attend)
    blocks = -(-length // BLOCK)
    block = -(-length // blocks)
    # On JAX a loop for several blocks, since XLA would have the weights of all blocks in memory at the same time.
    is_loop = keras.backend.backend() == "jax"
    stride = block * max(2, -(-blocks // LOOPS)) if is_loop else block
    results = []
    for start in range(0, length, stride):
        stop = min(start + stride, length)
        own, keys = (
            [x[:, part] for x in each]
            for part, each in ((slice(start, stop), of_queries), (slice(keys_up_to(stop)), of_keys))
        )
        results.append(_in_a_loop(again, own, keys, block) if is_loop else again(*own, *keys))
    return attended(*(ops.concatenate(parts, axis=1) for parts in zip(*results, strict=True)))


def _in_a_loop(attend, of_queries, of_keys, block):
    """`attend` of blocks of queries, by `ops.map`."""
    length = of_queries[0].shape[1]
    blocks = -(-length // block)

    def cut(x):
        rows, _, *rest = ops.shape(x)
        return ops.swapaxes(
            ops.reshape(padded_steps(x, 0, blocks * block - length), (rows, blocks, block, *rest)), 0, 1
        )

    def joined(x):
        _, rows, _, *rest = ops.shape(x)
        return ops.reshape(ops.swapaxes(x, 0, 1), (rows, blocks * block, *rest))[:, :length]

    return [joined(x) for x in ops.map(lambda own: attend(*own, *of_keys), [cut(x) for x in of_queries])]


def softmax_attention(query, key, value, whole_key, visible, with_log_sum=False) -> Attended:
    """Attention within blocks, `(B, n, Q, N, H)`; of a query that sees no key nothing is said.

    `query`: (B, n, Q, N, H); `key`, `value`: (B, n, C, K, H), the keys scaled; `whole_key`: (B, n, C) bool, whether
    both were finite; `visible`: (B or 1, n, Q, C) bool, which keys each query sees.
    """
    rows, blocks, block, num_heads, channels = ops.shape(query)
    keys, num_key_heads = ops.shape(key)[2:4]
    group = num_heads // num_key_heads
    dtype = query.dtype
    precise = "float64" if keras.backend.standardize_dtype(dtype) == "float64" else "float32"
    grouped = (rows, num_key_heads, blocks, block * group)
    apart = (rows, num_key_heads, blocks, block, group)
    # The heads of a group are further queries (B, K, n, Q group, H) of the same keys (B, K, n, C, H). `torch.func.vmap`
    # has no rule for PyTorch's `moveaxis`.
    query = ops.reshape(query, (rows, blocks, block, num_key_heads, group, channels))
    query = ops.transpose(query, (0, 3, 1, 2, 4, 5))
    key, value = ops.transpose(key, (0, 3, 1, 2, 4)), ops.transpose(value, (0, 3, 1, 2, 4))
    bias = ops.expand_dims(ops.where(visible, ops.zeros((), precise), _HIDDEN), (1, 4))
    # PyTorch can't export products of sizes that are free.
    in_torch_program = keras.backend.backend() == "torch" and backends.active().is_exported()
    if keras.distribution.distribution() is None and not in_torch_program:
        # Not Keras's `matmul`, which computes float64 in float32 on PyTorch.
        logits = ops.reshape(query, (*grouped, channels)) @ ops.swapaxes(key, -1, -2)
        logits = ops.reshape(ops.cast(logits, precise), (*apart, keys)) + bias
        weights = _softmax(ops.reshape(logits, (*grouped, keys)))
        outputs = ops.reshape(ops.cast(weights, dtype) @ value, (*apart, channels))
    else:
        # Heads sharded over devices stay a separate axis: merging them with the queries would gather them first.
        logits = ops.cast(ops.einsum("bknqgh,bknch->bknqgc", query, key), precise) + bias
        weights = ops.cast(_softmax(logits), dtype)
        outputs = ops.einsum("bknqgc,bknch->bknqgh", weights, value)

    def joined(heads, *rest):
        """`(B, K, n, Q, group, ...)` to `(B, n, Q, N, ...)`."""
        heads = ops.transpose(heads, (0, 2, 3, 1, 4, *range(5, 5 + len(rest))))
        return ops.reshape(heads, (rows, blocks, block, num_heads, *rest))

    log_sum = joined(ops.logsumexp(logits, axis=-1)) if with_log_sum else None
    lost = ops.any(ops.logical_and(visible, ops.expand_dims(ops.logical_not(whole_key), 2)), axis=-1)
    return Attended(joined(outputs, channels), ops.logical_not(lost), log_sum)


def _softmax(logits):
    """Over the last axis; the weight of a single key is 1, about which Keras warns."""
    return ops.ones_like(logits) if logits.shape[-1] == 1 else ops.softmax(logits, axis=-1)
