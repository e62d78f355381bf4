"""On PyTorch on a CPU: one product for each block, read and written in place among the channels.

A batched product needs each block's channels to be contiguous: it copies inputs, outputs and both their gradients.
"""

import torch
from torch import Tensor

from keras_griffin.ops.torch_transforms import transformable

#: For fewer rows, as in decoding, a call for each block does not pay.
FEWEST_ROWS = 64


def supports(facts) -> str | None:
    """Only many rows, as in training."""
    rows = FEWEST_ROWS if facts.shape is None else facts.shape[0]
    return None if rows is not None and rows >= FEWEST_ROWS else f"needs at least {FEWEST_ROWS} rows"


def block_product(inputs, kernel, bias):
    """The contract is `keras_griffin.ops.block_product`."""
    return _block_product_with_derivatives(inputs, kernel, bias)


@torch.library.custom_op("keras_griffin::block_product", mutates_args=())
def _block_product(inputs: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    blocks, _, block_units = kernel.shape
    outputs = inputs.new_empty(len(inputs), blocks * block_units)
    for g, (x, y) in enumerate(_pairs(blocks, inputs, outputs)):
        if bias is None:
            torch.mm(x, kernel[g], out=y)
        else:
            torch.addmm(bias[g], x, kernel[g], out=y)
    return outputs


@_block_product.register_fake
def _(inputs, kernel, bias):
    return inputs.new_empty(inputs.shape[0], kernel.shape[0] * kernel.shape[2])


@torch.library.custom_op("keras_griffin::block_product_gradient", mutates_args=())
def _gradient(gradient: Tensor, inputs: Tensor, kernel: Tensor) -> list[Tensor]:
    blocks, _, block_units = kernel.shape
    into_inputs = torch.empty_like(inputs, memory_format=torch.contiguous_format)
    into_kernel = torch.empty_like(kernel, memory_format=torch.contiguous_format)
    for g, (dy, x, dx) in enumerate(_pairs(blocks, gradient, inputs, into_inputs)):
        torch.mm(dy, kernel[g].T, out=dx)
        torch.mm(x.T, dy, out=into_kernel[g])
    return [into_inputs, into_kernel, torch.sum(gradient, 0).view(blocks, block_units)]


@_gradient.register_fake
def _(gradient, inputs, kernel):
    like = [torch.empty_like(x, memory_format=torch.contiguous_format) for x in (inputs, kernel)]
    return [*like, gradient.new_empty(kernel.shape[0], kernel.shape[2])]


def _pairs(blocks, *arrays):
    """For each block, its views of the arrays."""
    return zip(*(array.chunk(blocks, dim=1) for array in arrays), strict=True)


def _keep(ctx, inputs, output):
    inputs, kernel, bias = inputs
    ctx.save_for_backward(inputs, kernel)
    ctx.has_bias = bias is not None


def _backward(ctx, gradient):
    into_inputs, into_kernel, into_bias = _gradient_with_derivatives(gradient, *ctx.saved_tensors)
    return into_inputs, into_kernel, into_bias if ctx.has_bias else None


def _jvp(arguments, outputs, tangents):
    (inputs, kernel, _), (inputs_tangent, kernel_tangent, bias_tangent) = arguments, tangents
    of_inputs = _block_product_with_derivatives(inputs_tangent, kernel, None)
    return of_inputs + _block_product_with_derivatives(inputs, kernel_tangent, bias_tangent)


def _keep_all(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def _backward_of_gradient(ctx, into_into_inputs, into_into_kernel, into_into_bias):
    gradient, inputs, kernel = ctx.saved_tensors
    of_inputs = _block_product_with_derivatives(into_into_inputs, kernel, None)
    into_gradient = of_inputs + _block_product_with_derivatives(inputs, into_into_kernel, into_into_bias)
    into_inputs, into_kernel, _ = _gradient_with_derivatives(gradient, into_into_inputs, into_into_kernel)
    return into_gradient, into_inputs, into_kernel


def _jvp_of_gradient(arguments, outputs, tangents):
    (gradient, inputs, kernel), (gradient_tangent, inputs_tangent, kernel_tangent) = arguments, tangents
    results = _gradient_with_derivatives(gradient_tangent, inputs, kernel)
    others = _gradient_with_derivatives(gradient, inputs_tangent, kernel_tangent)
    return [results[0] + others[0], results[1] + others[1], results[2]]


# The channels are those of all blocks, one block after the other, so that calls side by side are more blocks.
_block_product_with_derivatives = transformable("block_product", _block_product, "bd d d -> bd", _keep, _backward, _jvp)
_gradient_with_derivatives = transformable(
    "block_product", _gradient, "bd bd d -> bd d d", _keep_all, _backward_of_gradient, _jvp_of_gradient
)
