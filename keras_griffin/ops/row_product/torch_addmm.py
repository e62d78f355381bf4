"""On PyTorch: product and bias in one call.

For one row and a large matrix MKL uses one core, except on Intel's processors. So there the products of contiguous
blocks of the matrix run as a batch: blocks of rows, or of columns if it is stored by column.
"""

import functools
from pathlib import Path

import torch

#: Numbers of a large matrix.
LARGE = 2**16
#: Parts for each thread, at most, and rows or columns of a part, at least: products of blocks of rows are also added.
PARTS, LEAST = 2, 64


def supports(facts):
    """It serves every call."""
    return None


def row_product(rows, matrix, bias):
    """The contract is `keras_griffin.ops.row_product`."""
    parts = _parts(rows, matrix)
    if parts > 1:
        return _in_parts(rows, matrix, bias, parts)
    return torch.mm(rows, matrix) if bias is None else torch.addmm(bias, rows, matrix)


def _parts(rows, matrix) -> int:
    """Into how many parts the matrix is divided; what `torch.compile` traces is the compiler's to divide."""
    if torch.compiler.is_compiling():
        return 1
    is_one_row = rows.device.type == "cpu" and rows.shape[0] == 1 and rows.dtype == torch.float32
    if not is_one_row or matrix.numel() < LARGE or 1 not in matrix.stride() or torch.is_grad_enabled():
        return 1
    if _mkl_divides():
        return 1
    size = matrix.shape[0 if matrix.stride(1) == 1 else 1]
    most = min(PARTS * torch.get_num_threads(), size // LEAST)
    return max((n for n in range(2, most + 1) if size % n == 0), default=1)


@functools.cache
def _mkl_divides() -> bool:
    """Whether the library shares the product among its threads, or there is another library."""
    processor = Path("/proc/cpuinfo")
    is_amd = processor.exists() and "AuthenticAMD" in processor.read_text("utf-8", "replace")
    return not (is_amd and torch.backends.mkl.is_available())


def _in_parts(rows, matrix, bias, parts):
    if matrix.stride(1) == 1:
        product = torch.bmm(rows.reshape(parts, 1, -1), matrix.unflatten(0, (parts, -1))).sum(0)
        return product if bias is None else product + bias
    rows = rows.expand(parts, *rows.shape)
    blocks = matrix.unflatten(1, (parts, -1)).transpose(0, 1)
    product = torch.bmm(rows, blocks) if bias is None else torch.baddbmm(bias.view(parts, 1, -1), rows, blocks)
    return product.reshape(1, -1)
