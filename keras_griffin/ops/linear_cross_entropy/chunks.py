"""Chunks of time, of which only one at a time has its logits in memory."""

from keras import ops

from keras_griffin.ops.shared.padding import padded_steps

#: Elements in a chunk's logits: 64 MiB in float32. With fewer rows the matrix product would be slower.
LOGITS_AT_A_TIME = 2**24


def steps_in_chunk(batch_size, length, vocabulary_size, largest=max):
    """How many steps, of all rows, have their logits computed together: chunks are as equal as possible."""
    # Cut along time, so that devices that share the rows need not communicate.
    most = largest(1, LOGITS_AT_A_TIME // largest(1, batch_size * vocabulary_size))
    chunks = largest(1, -(-length // most))
    return largest(1, -(-length // chunks))


def split(table, *arrays, largest=max):
    """Each array `(B, T, ...)` as `(chunks, B, steps, ...)`, with zeros after the last step."""
    batch_size, length = ops.shape(arrays[0])[:2]
    steps = steps_in_chunk(batch_size, length, ops.shape(table)[0], largest)
    # TensorFlow can't map over no chunks.
    count = largest(1, -(-length // steps))

    def split_one(array):
        padded = padded_steps(array, after=count * steps - length)
        return ops.swapaxes(ops.reshape(padded, (batch_size, count, steps, *array.shape[2:])), 0, 1)

    return tuple(map(split_one, arrays))


def joined(chunks, length):
    """`(B, T, ...)` from `(chunks, B, steps, ...)`."""
    count, rows, steps, *others = ops.shape(chunks)
    return ops.reshape(ops.swapaxes(chunks, 0, 1), (rows, count * steps, *others))[:, :length]


def capped(products, soft_cap):
    """The logits of products in their precision, and their derivative by the products."""
    if soft_cap is None:
        return products, 1.0
    bounded = ops.tanh(products / soft_cap)
    return soft_cap * bounded, 1.0 - bounded**2


def gradient_of_logits(logits, slope, targets, log_sum, weight):
    """The gradient for the products, from the gradient for the losses; NaN for an unknown target."""
    wanted = ops.one_hot(targets, ops.shape(logits)[-1], dtype=logits.dtype)
    return nan_if_unknown(targets, weight)[..., None] * (ops.exp(logits - log_sum[..., None]) - wanted) * slope


def nan_if_unknown(targets, numbers):
    """The numbers, NaN where a target is not in the vocabulary."""
    return ops.where(targets < 0, float("nan"), numbers)


def as_matrix(x):
    """`(B, steps, D)` as one matrix."""
    batch_size, steps, width = ops.shape(x)
    return ops.reshape(x, (batch_size * steps, width))
