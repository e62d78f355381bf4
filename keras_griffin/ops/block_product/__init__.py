"""Y = X W with a block-diagonal W: the contract, and the table of implementations.

An implementation has the function `block_product(inputs, kernel, bias)`, and `supports(facts)` as in `ScanOp`.
"""

import keras
from keras import ops

from keras_griffin.ops.implementation import Implementation, Op
from keras_griffin.ops.shared.arguments import as_tensor, check_floating
from keras_griffin.shapes import Tensor

_OP = Op(
    "block_product",
    __name__,
    [
        Implementation("torch_blocks", backend="torch", automatic=("cpu",)),
        Implementation("portable"),
        Implementation("reference", automatic=(), needs_values=True),
    ],
)


def block_product(inputs: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply each block of channels by its own matrix.

        y_ng = x_ng W_g + b_g        g = 1 .. G

    `inputs`: x, (n, D), block after block, n possibly unknown; `kernel`: W, (G, D / G, U / G); `bias`: b, (G, U / G),
    or None; all of one float dtype. The result is (n, U). Precision: the backend's matrix product.

    Reference: De et al. 2024 (arXiv 2402.19427), section 3.
    """
    inputs, kernel, bias = as_tensor(inputs), as_tensor(kernel), as_tensor(bias)
    blocks, block_width, block_units = kernel.shape if len(kernel.shape) == 3 else (0, 0, 0)
    fits = len(inputs.shape) == 2 and inputs.shape[1] == blocks * block_width and blocks > 0
    if not fits or (bias is not None and tuple(bias.shape) != (blocks, block_units)):
        raise ValueError(
            "block_product: inputs must have shape (n, D), the kernel (G, D / G, U / G) and the bias (G, U / G). "
            f"Got {tuple(inputs.shape)}, {tuple(kernel.shape)} and {None if bias is None else tuple(bias.shape)}."
        )
    check_floating("block_product", inputs=inputs, kernel=kernel, bias=bias)
    tensors = [x for x in (inputs, kernel, bias) if x is not None]
    dtype = keras.backend.standardize_dtype(inputs.dtype)
    implementation = _OP.choose(tuple(inputs.shape), dtype, tensors)
    return ops.convert_to_tensor(implementation(inputs, kernel, bias), dtype)
