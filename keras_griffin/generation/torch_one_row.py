"""The product of one row and a matrix as a sum, for PyTorch's Inductor on a CPU.

One row uses each number of the matrix once, so reading the matrix is the whole cost. The loop that Inductor generates
for a sum reads it once, and needs no call: for a small matrix it is the faster one. For a large one the library that
Inductor calls for a product is faster, unless it rearranges the matrix first, as MKL does on some processors; that is
measured.
"""

import functools
import time

import torch

_aten = torch.ops.aten

#: Numbers of a small matrix.
SMALL = 2**17
FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def one_row_as_sum(rearranged: frozenset[torch.dtype]) -> dict:
    """The decompositions for `make_fx`; a product that is better left alone is unchanged.

    Args:
        rearranged: the dtypes whose large matrices become sums too, of `rearranged_dtypes`.
    """

    def is_sum(rows, matrices):
        """Whether `(..., 1, K)` and `(..., K, N)` are better summed."""
        is_one_row = rows.device.type == "cpu" and rows.is_floating_point() and rows.shape[-2] == 1
        return is_one_row and (matrices.shape[-2:].numel() <= SMALL or matrices.dtype in rearranged)

    def mm(rows, matrix):
        return _summed(rows, matrix) if is_sum(rows, matrix) else NotImplemented

    def addmm(bias, rows, matrix, *, beta=1, alpha=1):
        return beta * bias + alpha * _summed(rows, matrix) if is_sum(rows, matrix) else NotImplemented

    return {_aten.mm.default: mm, _aten.bmm.default: mm, _aten.addmm.default: addmm}


@functools.cache
def rearranged_dtypes() -> frozenset[torch.dtype]:
    """The dtypes in which a large matrix's product with one row takes twice as long as reading the matrix once."""
    found = set()
    for dtype in FLOATS:
        row, matrix = torch.ones((1, 2048), dtype=dtype), torch.ones((2048, 2048), dtype=dtype)
        if least_seconds(torch.mm, row, matrix) > 2 * least_seconds(torch.sum, matrix, 0):
            found.add(dtype)
    return frozenset(found)


def least_seconds(function, *arguments):
    """The least time of several runs with tensors, to the end of what an accelerator computes."""
    least = float("inf")
    for _ in range(9):
        start = time.perf_counter()
        function(*arguments)
        if arguments[0].device.type != "cpu":
            torch.accelerator.synchronize()
        least = min(least, time.perf_counter() - start)
    return least


def _summed(rows, matrices):
    return (rows.mT * matrices).sum(-2, keepdim=True)
