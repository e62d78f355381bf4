"""On PyTorch on a CPU: one product for each block, in place among the channels, where a batched product would copy."""

import torch
from torch import Tensor

from keras_griffin.ops.block_product import portable
from keras_griffin.ops.shared.torch_second_derivatives import are_wanted, differentiable_gradient

#: For fewer rows, as in decoding, a call for each block does not pay.
FEWEST_ROWS = 64


def supports(facts) -> str | None:
    """Only many rows, as in training."""
    rows = FEWEST_ROWS if facts.shape is None else facts.shape[0]
    return None if rows is not None and rows >= FEWEST_ROWS else f"needs at least {FEWEST_ROWS} rows"


def block_product(inputs, kernel, bias):
    """The contract is `keras_griffin.ops.block_product`."""
    return _block_product(inputs, kernel, bias)


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
    ctx.save_for_backward(*inputs)


def _backward(ctx, gradient):
    inputs, kernel, bias = ctx.saved_tensors
    if are_wanted():
        return differentiable_gradient(lambda *x: [portable.block_product(*x)], (inputs, kernel, bias), [gradient])
    into_inputs, into_kernel, into_bias = _gradient(gradient, inputs, kernel)
    return into_inputs, into_kernel, None if bias is None else into_bias


_block_product.register_autograd(_backward, setup_context=_keep)
