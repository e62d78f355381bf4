"""The definition and its gradient: NumPy, float64, all logits at once."""

import numpy as np


def linear_cross_entropy(inputs, table, targets, soft_cap):
    """`(B, T)`, float64; the contract is `keras_griffin.ops.linear_cross_entropy`."""
    logits, _ = _logits(inputs, table, soft_cap)
    largest = logits.max(axis=-1)
    log_sum = largest + np.log(np.exp(logits - largest[..., None]).sum(axis=-1))
    targets = np.asarray(targets)
    losses = log_sum - np.take_along_axis(logits, np.maximum(targets, 0)[..., None], axis=-1)[..., 0]
    return np.where(targets < 0, np.nan, losses)


def linear_cross_entropy_gradient(cotangent, inputs, table, targets, soft_cap):
    """The gradients of `sum(cotangent * losses)` for inputs and table, float64."""
    logits, slope = _logits(inputs, table, soft_cap)
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=-1, keepdims=True)
    wanted = np.arange(logits.shape[-1]) == np.asarray(targets)[..., None]
    cotangent = np.where(np.asarray(targets) < 0, np.nan, np.asarray(cotangent, "float64"))
    into_products = cotangent[..., None] * (probabilities - wanted) * slope
    into_inputs = into_products @ np.asarray(table, "float64")
    return into_inputs, np.einsum("btv,btd->vd", into_products, np.asarray(inputs, "float64"))


def _logits(inputs, table, soft_cap):
    """The logits, and their derivative with respect to the uncapped products."""
    products = np.asarray(inputs, "float64") @ np.asarray(table, "float64").T
    if soft_cap is None:
        return products, np.ones_like(products)
    bounded = np.tanh(products / soft_cap)
    return soft_cap * bounded, 1.0 - bounded**2
