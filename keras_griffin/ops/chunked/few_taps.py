"""A causal convolution of few taps, one after the other."""

import keras
from keras import ops

from keras_griffin.backends import imported
from keras_griffin.shapes import Tensor

_JAX = imported("keras_griffin.ops.chunked.jax_few_taps") if keras.backend.backend() == "jax" else None


def sum_of_few_taps(history: Tensor, document: Tensor | None, kernel: Tensor) -> Tensor:
    """y_t `(B, T, D)` from `history (B, K - 1 + T, D)`, its documents `(B, K - 1 + T)` or None, and `kernel (K, D)`."""
    if _JAX is not None and document is None:
        return _JAX.sum_of_few_taps(history, kernel)
    taps = kernel.shape[0]
    outputs = _scaled(history[:, taps - 1 :], kernel[taps - 1])
    for tap in range(taps - 1):
        # It ends before the end of the history, by as many steps as the tap looks back.
        past = slice(tap, tap - taps + 1)
        seen = history[:, past]
        if document is not None:
            seen = ops.where(ops.expand_dims(document[:, past] == document[:, taps - 1 :], -1), seen, 0)
        outputs = outputs + _scaled(seen, kernel[tap])
    return outputs


def _scaled(x, scale):
    """`x (B, T, D)` times `scale (D,)`, as a matrix of rows."""
    # The gradient for `scale` is a sum over the rows. For a batch of one, XLA on a CPU takes ten times as long to sum
    # over time alone.
    if x.shape[-1] == 0:
        return x
    return ops.reshape(ops.reshape(x, (-1, x.shape[-1])) * scale, ops.shape(x))
