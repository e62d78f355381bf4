"""On JAX: one loop over chunks of time forward, and one backward that recomputes each chunk's logits."""

from functools import partial

import jax
import jax.numpy as jnp

from keras_griffin.ops.linear_cross_entropy import chunks


def supports(facts) -> str | None:
    """Everything on JAX."""
    return None


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def linear_cross_entropy(inputs, table, targets, soft_cap):
    """The contract is `keras_griffin.ops.linear_cross_entropy`."""
    return _forward(inputs, table, targets, soft_cap)[0]


def _forward(inputs, table, targets, soft_cap):
    def losses_of(chunk):
        x, y = chunk
        logits, _ = _logits(x, table, soft_cap)
        log_sum = jax.nn.logsumexp(logits, axis=-1)
        # A sum: a look-up would gather a vocabulary that is sharded over devices.
        is_target = jax.lax.broadcasted_iota("int32", logits.shape, 2) == y[..., None]
        losses = log_sum - jnp.sum(jnp.where(is_target, logits, 0.0), axis=-1)
        return chunks.nan_if_unknown(y, losses), log_sum

    losses, log_sums = jax.lax.map(losses_of, chunks.split(table, inputs, targets))
    length = inputs.shape[1]
    return chunks.joined(losses, length), (inputs, table, targets, chunks.joined(log_sums, length))


def _backward(soft_cap, kept, cotangent):
    inputs, table, targets, log_sums = kept

    def add_chunk(into_table, chunk):
        x, *others = chunk
        into_logits = chunks.gradient_of_logits(*_logits(x, table, soft_cap), *others)
        rows = chunks.as_matrix(into_logits.astype(x.dtype))
        into_table += jnp.matmul(rows.T, chunks.as_matrix(x), preferred_element_type=into_table.dtype)
        return into_table, (rows @ table).reshape(x.shape)

    zeros = jnp.zeros(table.shape, log_sums.dtype)
    into_table, into_inputs = jax.lax.scan(add_chunk, zeros, chunks.split(table, inputs, targets, log_sums, cotangent))
    return chunks.joined(into_inputs, inputs.shape[1]), into_table.astype(table.dtype), None


linear_cross_entropy.defvjp(_forward, _backward)


def _logits(x, table, soft_cap):
    """The logits of a chunk, and their derivative by the uncapped products."""
    dtype = jnp.promote_types(x.dtype, "float32")
    # XLA on a CPU takes about twice as long for a product over two leading axes.
    products = jnp.matmul(chunks.as_matrix(x), table.T, preferred_element_type=dtype)
    return chunks.capped(products.reshape(*x.shape[:-1], len(table)), soft_cap)
