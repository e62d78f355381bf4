"""On TensorFlow: one loop over pieces of time forward, and one backward that recomputes each piece's logits."""

import tensorflow as tf

from keras_griffin.ops.linear_cross_entropy import pieces


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
    def losses_of(piece):
        x, y = piece
        logits, _ = _logits(x, table, soft_cap)
        log_sum = tf.reduce_logsumexp(logits, axis=-1)
        return _unless_unknown(y, log_sum - tf.gather(logits, tf.maximum(y, 0), axis=-1, batch_dims=2)), log_sum

    dtype = _wide(inputs.dtype)
    losses, log_sums = tf.map_fn(losses_of, _pieces(table, inputs, targets), fn_output_signature=(dtype, dtype))
    length = tf.shape(inputs)[1]
    return _joined(losses, length), _joined(log_sums, length)


def _backward(inputs, table, targets, log_sums, cotangent, soft_cap):
    arrays = _pieces(table, inputs, targets, log_sums, cotangent)
    count = tf.shape(arrays[0])[0]

    def add_piece(index, into_table, into_inputs):
        x, y, log_sum, weight = (array[index] for array in arrays)
        logits, slope = _logits(x, table, soft_cap)
        wanted = tf.one_hot(y, tf.shape(table)[0], dtype=logits.dtype)
        weight = _unless_unknown(y, weight)
        into_logits = weight[..., None] * (tf.exp(logits - log_sum[..., None]) - wanted) * slope
        rows = tf.reshape(tf.cast(into_logits, x.dtype), (-1, tf.shape(table)[0]))
        x_rows = tf.reshape(x, (-1, x.shape[-1]))
        into_table += tf.cast(tf.matmul(rows, x_rows, transpose_a=True), into_table.dtype)
        return index + 1, into_table, into_inputs.write(index, tf.reshape(tf.matmul(rows, table), tf.shape(x)))

    _, into_table, into_inputs = tf.while_loop(
        lambda index, *_: index < count,
        add_piece,
        (0, tf.zeros_like(table, log_sums.dtype), tf.TensorArray(inputs.dtype, size=count)),
        # XLA needs a bound to differentiate a loop; this loop is a gradient itself.
        maximum_iterations=count,
        parallel_iterations=1,
    )
    return _joined(into_inputs.stack(), tf.shape(inputs)[1]), tf.cast(into_table, table.dtype)


def _logits(x, table, soft_cap):
    """The logits of a piece, and their derivative with respect to the uncapped products."""
    rows = tf.matmul(tf.reshape(x, (-1, x.shape[-1])), table, transpose_b=True)
    products = tf.cast(tf.reshape(rows, (*tf.unstack(tf.shape(x))[:2], tf.shape(table)[0])), _wide(x.dtype))
    if soft_cap is None:
        return products, tf.ones((), products.dtype)
    bounded = tf.tanh(products / soft_cap)
    return soft_cap * bounded, 1.0 - bounded**2


def _unless_unknown(y, numbers):
    return tf.where(y < 0, tf.constant(float("nan"), numbers.dtype), numbers)


def _wide(dtype):
    return tf.float64 if dtype == tf.float64 else tf.float32


def _pieces(table, *arrays):
    """Each array `(B, T, ...)` as `(pieces, B, steps, ...)`, with zeros after the last step."""
    batch_size, length = tf.unstack(tf.shape(arrays[0]))[:2]
    # Like `steps_in_piece`, for sizes that may not be known yet.
    most = tf.maximum(1, pieces.LOGITS_AT_A_TIME // tf.maximum(1, batch_size * tf.shape(table)[0]))
    count = tf.maximum(1, -(-length // most))
    steps = tf.maximum(1, -(-length // count))
    count = tf.maximum(1, -(-length // steps))

    def split(array):
        padded = tf.pad(array, [[0, 0], [0, count * steps - length]] + [[0, 0]] * (len(array.shape) - 2))
        split = tf.reshape(padded, (batch_size, count, steps, *array.shape[2:]))
        return tf.transpose(split, (1, 0, 2, *range(3, len(split.shape))))

    return tuple(split(array) for array in arrays)


def _joined(split, length):
    """`(B, T, ...)` from `(pieces, B, steps, ...)`."""
    joined = tf.transpose(split, (1, 0, 2, *range(3, len(split.shape))))
    return tf.reshape(joined, (tf.shape(joined)[0], -1, *split.shape[3:]))[:, :length]
