"""Cross-entropy without the full logits in memory: the contract, and the table of implementations.

An implementation has the function `linear_cross_entropy(inputs, table, targets, soft_cap)`, whose targets are int32, -1
for each outside the vocabulary, and `supports(facts)` as in `ScanOp`.
"""

import math

import keras
import numpy as np
from keras import ops

from keras_griffin.ops.implementation import Implementation, Op
from keras_griffin.ops.shared.arguments import as_tensor, check_floating, shape_fits
from keras_griffin.shapes import Tensor

_OP = Op(
    "linear_cross_entropy",
    __name__,
    [
        Implementation("jax_chunked", backend="jax"),
        Implementation("torch_chunked", backend="torch"),
        Implementation("tensorflow_chunked", backend="tensorflow"),
        Implementation("portable"),
        Implementation("reference", automatic=(), needs_values=True),
    ],
)


def linear_cross_entropy(inputs: Tensor, table: Tensor, targets: Tensor, *, soft_cap: float | None = None) -> Tensor:
    r"""The loss of each step's prediction, from its vector and the table that would give its logits.

        z_t = E x_t,  or  c tanh(E x_t / c)
        l_t = log sum_v exp(z_tv) - z_t[y_t]

    Logits `(B, T, V)` are computed for a few steps at a time, and again for the gradient; only x and the logarithm of
    the sum are stored in between. With a vocabulary of 256,000 and 2,048 steps, the full logits in float32 take 2 GB
    per row, and their gradient as much again.

    Args:
        inputs: x, `(B, T, D)` float.
        table: E, `(V, D)`, of the same dtype.
        targets: y, `(B, T)` integers from 0 to V - 1. For any other target the loss is NaN, and so are the gradients
            for that step's vector and for the table, whatever weight the loss has.
        soft_cap: c, the bound of the logits' magnitude; None for no bound.

    Returns:
        l in nats, `(B, T)`, float32 (float64 for float64 inputs). Differentiable in `inputs` and `table`:
        once, and any number of times on PyTorch.

    Precision: the matrix product is the backend's for that dtype; everything after it is at least float32, and so is
    the sum that becomes the table's gradient.

    Raises:
        ValueError: the shapes do not fit, a dtype is wrong, the cap is not positive and finite, or the requested
            implementation can't serve the call.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> inputs, table = np.zeros((2, 5, 4), "float32"), np.zeros((256, 4), "float32")
        >>> loss = keras_griffin.ops.linear_cross_entropy(inputs, table, np.zeros((2, 5), "int32"))
        >>> tuple(loss.shape), f"{float(loss[0, 0]):.3f}"  # log 256
        ((2, 5), '5.545')

    Reference: Wijmans et al. 2024 (arXiv 2411.09009) for the idea; Botev et al. 2024 (arXiv 2404.07839) for the cap.
    """
    inputs, table = as_tensor(inputs), as_tensor(table)
    targets = np.asarray(targets) if isinstance(targets, list | tuple) else targets
    targets = targets if isinstance(targets, np.ndarray) else as_tensor(targets)
    if len(inputs.shape) != 3 or not shape_fits(table, (None, inputs.shape[2])):
        raise ValueError(
            "linear_cross_entropy: inputs must have shape (B, T, D) and the table (V, D). "
            f"Got {tuple(inputs.shape)} and {tuple(table.shape)}."
        )
    dtype = keras.backend.standardize_dtype(targets.dtype)
    if "int" not in dtype or not shape_fits(targets, tuple(inputs.shape[:2])):
        raise ValueError(
            f"linear_cross_entropy: targets must be integers, one for each step, shape {tuple(inputs.shape[:2])}. "
            f"Got dtype {dtype} and shape {tuple(targets.shape)}."
        )
    check_floating("linear_cross_entropy", inputs=inputs, table=table)
    dtype = keras.backend.standardize_dtype(inputs.dtype)
    if keras.backend.standardize_dtype(table.dtype) != dtype:
        raise ValueError(
            "linear_cross_entropy: inputs and table must have the same dtype. "
            f"Got {dtype} and {keras.backend.standardize_dtype(table.dtype)}."
        )
    if soft_cap is not None and not 0.0 < soft_cap < math.inf:
        raise ValueError(f"linear_cross_entropy: soft_cap must be positive and finite, or None. Got {soft_cap}.")
    implementation = _OP.choose(tuple(inputs.shape), dtype, [inputs, table])
    losses = implementation(inputs, table, _known(targets, table.shape[0]), soft_cap)
    return ops.convert_to_tensor(losses, "float64" if dtype == "float64" else "float32")


def _known(targets, vocabulary_size):
    """The targets in int32, -1 for those outside the vocabulary."""
    if isinstance(targets, np.ndarray):
        # In NumPy first: JAX would turn ids that int32 can't hold into other ids.
        return ops.convert_to_tensor(_only(np, np.asarray(targets, "int64"), vocabulary_size).astype("int32"))
    # What the signed dtype can't hold becomes negative.
    wide = "int64" if keras.backend.standardize_dtype(targets.dtype) in ("int64", "uint64") else "int32"
    return ops.cast(_only(ops, ops.cast(targets, wide), vocabulary_size), "int32")


def _only(module, ids, size):
    return module.where(module.logical_and(ids >= 0, ids < size), ids, module.full_like(ids, -1))
