"""On TensorFlow: one loop over chunks of time forward, and one backward that recomputes each chunk's logits."""

from functools import partial

import tensorflow as tf
from keras import ops

from keras_griffin.ops.linear_cross_entropy import chunks

# Of sizes that may not be known yet.
_split = partial(chunks.split, largest=tf.maximum)


def supports(facts) -> str | None:
    """Everything on TensorFlow."""
    return None


def linear_cross_entropy(inputs, table, targets, soft_cap):
    """The contract is `keras_griffin.ops.linear_cross_entropy`."""

    @tf.custom_gradient
    def differentiable(inputs, table):
        losses, log_sums = _forward(inputs, table, targets, soft_cap)

        def gradient(cotangent):
            return _backward(inputs, table, targets, log_sums, cotangent, soft_cap)

        return losses, gradient

    return tf.ensure_shape(differentiable(inputs, table), inputs.shape[:2])


def _forward(inputs, table, targets, soft_cap):
    def losses_of(chunk):
        x, y = chunk
        logits, _ = _logits(x, table, soft_cap)
        log_sum = tf.reduce_logsumexp(logits, axis=-1)
        return chunks.nan_if_unknown(y, log_sum - tf.gather(logits, tf.maximum(y, 0), axis=-1, batch_dims=2)), log_sum

    dtype, length = _wide(inputs.dtype), tf.shape(inputs)[1]
    losses, log_sums = tf.map_fn(losses_of, _split(table, inputs, targets), fn_output_signature=(dtype, dtype))
    return chunks.joined(losses, length), chunks.joined(log_sums, length)


def _backward(inputs, table, targets, log_sums, cotangent, soft_cap):
    arrays = _split(table, inputs, targets, log_sums, cotangent)
    count = tf.shape(arrays[0])[0]

    def add_chunk(index, into_table, into_inputs):
        x, *others = (array[index] for array in arrays)
        into_logits = chunks.gradient_of_logits(*_logits(x, table, soft_cap), *others)
        rows = chunks.as_matrix(tf.cast(into_logits, x.dtype))
        into_table += tf.cast(tf.matmul(rows, chunks.as_matrix(x), transpose_a=True), into_table.dtype)
        return index + 1, into_table, into_inputs.write(index, tf.reshape(tf.matmul(rows, table), tf.shape(x)))

    _, into_table, into_inputs = tf.while_loop(
        lambda index, *_: index < count,
        add_chunk,
        (0, tf.zeros_like(table, log_sums.dtype), tf.TensorArray(inputs.dtype, size=count)),
        # XLA needs a bound to differentiate a loop; this loop is a gradient itself.
        maximum_iterations=count,
        parallel_iterations=1,
    )
    return chunks.joined(into_inputs.stack(), tf.shape(inputs)[1]), tf.cast(into_table, table.dtype)


def _logits(x, table, soft_cap):
    """The logits of a chunk, and their derivative by the uncapped products."""
    products = tf.matmul(chunks.as_matrix(x), table, transpose_b=True)
    products = tf.reshape(products, (*ops.shape(x)[:2], tf.shape(table)[0]))
    return chunks.capped(tf.cast(products, _wide(x.dtype)), soft_cap)


def _wide(dtype):
    return tf.float64 if dtype == tf.float64 else tf.float32
