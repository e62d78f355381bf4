"""On JAX: one loop over pieces of time forward, and one backward that recomputes each piece's logits."""

from functools import partial

import jax
import jax.numpy as jnp

from keras_griffin.ops.linear_cross_entropy.pieces import steps_in_piece


def supports(facts) -> str | None:
    """Everything on JAX."""
    return None


def linear_cross_entropy(inputs, table, targets, soft_cap):
    """The contract is `keras_griffin.ops.linear_cross_entropy`."""
    return _cross_entropy(soft_cap, inputs, table, targets)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _cross_entropy(soft_cap, inputs, table, targets):
    return _forward(soft_cap, inputs, table, targets)[0]


def _forward(soft_cap, inputs, table, targets):
    def losses_of(piece):
        x, y = piece
        logits, _ = _logits(x, table, soft_cap)
        log_sum = jax.nn.logsumexp(logits, axis=-1)
        # A sum: a look-up would gather a vocabulary that is sharded over devices.
        losses = log_sum - jnp.sum(jnp.where(_is_target(logits, y), logits, 0.0), axis=-1)
        return jnp.where(y < 0, jnp.nan, losses), log_sum

    losses, log_sums = jax.lax.map(losses_of, _pieces(table, inputs, targets))
    length = inputs.shape[1]
    log_sums = _joined(log_sums, length)
    return _joined(losses, length), (inputs, table, targets, log_sums)


def _backward(soft_cap, kept, cotangent):
    inputs, table, targets, log_sums = kept

    def add_piece(into_table, piece):
        x, y, log_sum, weight = piece
        logits, slope = _logits(x, table, soft_cap)
        probabilities = jnp.exp(logits - log_sum[..., None])
        weight = jnp.where(y < 0, jnp.nan, weight)
        into_logits = weight[..., None] * (probabilities - _is_target(logits, y)) * slope
        rows = into_logits.astype(x.dtype).reshape(-1, len(table))
        x_rows = _rows(x)
        into_table += jnp.matmul(rows.T, x_rows, preferred_element_type=into_table.dtype)
        return into_table, (rows @ table).reshape(x.shape)

    zeros = jnp.zeros(table.shape, log_sums.dtype)
    into_table, into_inputs = jax.lax.scan(add_piece, zeros, _pieces(table, inputs, targets, log_sums, cotangent))
    return _joined(into_inputs, inputs.shape[1]), into_table.astype(table.dtype), None


_cross_entropy.defvjp(_forward, _backward)


def _logits(x, table, soft_cap):
    """The logits of a piece, and their derivative with respect to the uncapped products."""
    dtype = jnp.promote_types(x.dtype, "float32")
    # XLA on a CPU takes about twice as long for a product over two leading axes.
    products = jnp.matmul(_rows(x), table.T, preferred_element_type=dtype)
    products = products.reshape(*x.shape[:-1], len(table))
    if soft_cap is None:
        return products, 1.0
    bounded = jnp.tanh(products / soft_cap)
    return soft_cap * bounded, 1.0 - bounded**2


def _rows(x):
    """`(B, steps, D)` as one matrix."""
    return x.reshape(x.shape[0] * x.shape[1], x.shape[2])


def _is_target(logits, y):
    return jax.lax.broadcasted_iota("int32", logits.shape, 2) == y[..., None]


def _pieces(table, *arrays):
    """Each array `(B, T, ...)` as `(pieces, B, steps, ...)`, with zeros after the last step."""
    batch_size, length = arrays[0].shape[:2]
    steps = steps_in_piece(batch_size, length, len(table))
    count = -(-length // steps)

    def split(array):
        padding = [(0, 0), (0, count * steps - length)] + [(0, 0)] * (array.ndim - 2)
        return jnp.moveaxis(jnp.pad(array, padding).reshape(batch_size, count, steps, *array.shape[2:]), 1, 0)

    return tuple(split(array) for array in arrays)


def _joined(pieces, length):
    """`(B, T, ...)` from `(pieces, B, steps, ...)`."""
    joined = jnp.moveaxis(pieces, 0, 1)
    rows, count, steps, *others = joined.shape
    return joined.reshape(rows, count * steps, *others)[:, :length]
