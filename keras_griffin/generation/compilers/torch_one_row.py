"""The product of one row and a small matrix as a sum, for PyTorch's Inductor on a CPU.

One row uses each number of the matrix once, and the loop that Inductor generates for a sum reads it once. For a small
matrix that is faster than a call of the library that Inductor uses for products, which may also rearrange the matrix
first. For a large matrix the library is up to four times as fast as the loop.
"""

import torch

_aten = torch.ops.aten

#: Numbers of a small matrix.
SMALL = 2**17


def _is_sum(rows, matrices):
    is_one_row = rows.device.type == "cpu" and rows.is_floating_point() and rows.shape[-2] == 1
    return is_one_row and matrices.shape[-2:].numel() <= SMALL


def _mm(rows, matrix):
    return _summed(rows, matrix) if _is_sum(rows, matrix) else NotImplemented


def _addmm(bias, rows, matrix, *, beta=1, alpha=1):
    return beta * bias + alpha * _summed(rows, matrix) if _is_sum(rows, matrix) else NotImplemented


def _summed(rows, matrices):
    return (rows.mT * matrices).sum(-2, keepdim=True)


#: For `make_fx`. Other products are unchanged.
ONE_ROW_AS_SUM = {_aten.mm.default: _mm, _aten.bmm.default: _mm, _aten.addmm.default: _addmm}
