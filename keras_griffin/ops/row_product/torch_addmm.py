"""On PyTorch: product and bias in one call, which adds the bias while it writes the product.

For one row and a large matrix MKL uses one core, except on Intel's processors. So there the columns are divided into as
many parts as PyTorch has threads: products of a batch run side by side.
"""

import functools
from pathlib import Path

import torch

#: Numbers of a large matrix.
LARGE = 2**16


def supports(facts):
    """It serves every call."""
    return None


def row_product(rows, matrix, bias):
    """The contract is `keras_griffin.ops.row_product`."""
    parts = _parts(rows, matrix)
    if parts > 1:
        product = _in_parts(rows, matrix, parts)
        return product if bias is None else product + bias
    return torch.mm(rows, matrix) if bias is None else torch.addmm(bias, rows, matrix)


def _parts(rows, matrix) -> int:
    """Into how many parts the columns are divided; what `torch.compile` traces is the compiler's to divide."""
    if torch.compiler.is_compiling():
        return 1
    is_one_row = rows.device.type == "cpu" and rows.shape[0] == 1 and rows.dtype == torch.float32
    if not is_one_row or matrix.numel() < LARGE or 1 not in matrix.stride() or torch.is_grad_enabled():
        return 1
    return 1 if _mkl_divides() else max(n for n in range(1, torch.get_num_threads() + 1) if matrix.shape[1] % n == 0)


@functools.cache
def _mkl_divides() -> bool:
    """Whether the library shares the product among its threads, or there is another library."""
    processor = Path("/proc/cpuinfo")
    is_amd = processor.exists() and "AuthenticAMD" in processor.read_text()
    return not (is_amd and torch.backends.mkl.is_available())


def _in_parts(rows, matrix, parts):
    blocks = matrix.unflatten(1, (parts, -1)).transpose(0, 1)
    return torch.bmm(rows.expand(parts, *rows.shape), blocks).reshape(1, -1)
