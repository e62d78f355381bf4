"""On every backend: matrix products within chunks of time, and a loop from chunk to chunk, with `keras.ops`.

With A_ij = b_i k_i . k_j exp(l_{j+1} + .. + l_i) for i > j in a chunk, what the memory changes by at each step, the
rows e of E, depends on the earlier changes and on the memory S before the chunk:

    (I + A) E = diag(b) (V - diag(exp(l_1 + .. + l_i)) K S)         E = U - W S
    S' = exp(l_1 + .. + l_C) S + (diag(exp(l_{i+1} + .. + l_C)) K)^T E

So U and W are products of all chunks at once, and only S goes from chunk to chunk.
"""

from keras import ops

from keras_griffin import backends
from keras_griffin.ops import chunked
from keras_griffin.ops.chunked.contained import contained
from keras_griffin.ops.chunked.halves import STRONGEST, at_least, chunk_length, decays, in_chunks, sums
from keras_griffin.ops.chunked.loop import over_chunks
from keras_griffin.ops.shared.padding import first_steps

supports = chunked.supports


@backends.active().compiled
def delta_rule(query, key, value, log_decay, rates, initial_state, marks):
    """The outputs and the last state; see the package."""
    log_decay = ops.zeros_like(rates) if log_decay is None else at_least(log_decay)
    return _scan(query, key, value, log_decay, rates, initial_state, marks)


@contained
def _scan(query, key, value, log_decay, rates, initial_state, reset):
    num_heads, groups, length = value.shape[2], query.shape[2], ops.shape(value)[1]
    size = chunk_length(value.shape[1])
    if reset is not None:
        log_decay = ops.where(reset[..., None], STRONGEST, log_decay)

    def chunks(x):
        """`(B, T, N, H)` as `(n, B, G, N / G, C, H)`."""
        x = in_chunks(ops.cast(x, initial_state.dtype), size)
        x = ops.reshape(x, (*ops.shape(x)[:3], groups, x.shape[3] // groups, x.shape[4]))
        return ops.transpose(x, (1, 0, 3, 4, 2, 5))

    query, key, value = map(chunks, (query, key, value))
    log_decay, rates = (chunks(x[..., None]) for x in (log_decay, rates))
    between, since_start = decays(log_decay), ops.exp(sums(log_decay)[0])
    to_end = ops.swapaxes(between[..., -1:, :], -1, -2)
    system = ops.tril(rates * (key @ ops.swapaxes(key, -1, -2)) * between, -1)
    inverse = ops.reshape(inverse_of_unit_lower(ops.reshape(system, (-1, size, size))), ops.shape(system))
    # The columns of the inverse, scaled, instead of the rows of values and keys, which are wider.
    inverse = inverse * ops.swapaxes(rates, -1, -2)
    of_values = inverse @ value
    of_memory = (inverse * ops.swapaxes(since_start, -1, -2)) @ key
    keys = ops.swapaxes(key * to_end, -1, -2)
    shape = ops.shape(initial_state)
    start = ops.reshape(initial_state, (shape[0], groups, num_heads // groups, *shape[2:]))
    sequences = since_start[..., -1:, :], keys, of_values, of_memory
    states, last, (changes,) = over_chunks(_chunk, start, sequences)
    outputs = since_start * (query @ states) + (query @ ops.swapaxes(key, -1, -2) * between) @ changes
    count, rows, *_, width = ops.shape(outputs)
    outputs = ops.reshape(ops.transpose(outputs, (1, 0, 4, 2, 3, 5)), (rows, count * size, num_heads, width))
    return first_steps(outputs, length), ops.reshape(last, shape)


def _chunk(state, decay, keys, of_values, of_memory):
    """The memory after a chunk, and its changes at the chunk's steps."""
    changes = of_values - of_memory @ state
    return decay * state + keys @ changes, (changes,)


def inverse_of_unit_lower(matrix):
    """The inverse of I + A, for a strictly lower triangular A of `(m, C, C)`, C a power of two, by halves.

    Every block that is computed is one of the result, so none is larger. That is not so for the powers of A in
    (I - A)(I + A^2)(I + A^4)..: where all entries are one, they reach 1e17.
    """
    count, size, _ = ops.shape(matrix)
    if size <= 2:
        return ops.eye(size, dtype=matrix.dtype) - matrix
    first, second = slice(size // 2), slice(size // 2, None)
    blocks = ops.concatenate([matrix[:, first, first], matrix[:, second, second]], axis=0)
    blocks = inverse_of_unit_lower(blocks)
    blocks = blocks[:count], blocks[count:]
    corner = -(blocks[1] @ (matrix[:, second, first] @ blocks[0]))
    above = ops.concatenate([blocks[0], ops.zeros_like(corner)], axis=-1)
    return ops.concatenate([above, ops.concatenate([corner, blocks[1]], axis=-1)], axis=-2)
