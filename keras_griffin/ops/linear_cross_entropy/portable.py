"""On every backend: all logits at once, which the others avoid."""

import keras
from keras import ops


def supports(facts) -> str | None:
    """It serves every call."""
    return None


def linear_cross_entropy(inputs, table, targets, soft_cap):
    """The contract is `keras_griffin.ops.linear_cross_entropy`."""
    # Not by Keras's `matmul` and `result_type`, which make float32 of float64 on PyTorch.
    logits = inputs @ ops.transpose(table)
    if keras.backend.standardize_dtype(inputs.dtype) != "float64":
        logits = ops.cast(logits, "float32")
    if soft_cap is not None:
        logits = soft_cap * ops.tanh(logits / soft_cap)
    wanted = ops.take_along_axis(logits, ops.expand_dims(ops.maximum(targets, 0), -1), axis=-1)
    losses = ops.logsumexp(logits, axis=-1) - ops.squeeze(wanted, -1)
    # Multiplied, so that the gradient is NaN too.
    return losses * ops.where(targets < 0, float("nan"), ops.ones_like(losses))
