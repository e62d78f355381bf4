"""The product of one row and a matrix as a sum, for PyTorch's Inductor on a CPU.

One row uses each number of the matrix once, so reading the matrix is the whole cost. The library that Inductor calls
for a product rearranges the matrix first; the loop that Inductor generates for a sum reads it once, on all cores.
"""

import torch

_aten = torch.ops.aten


def _is_one_row(rows):
    return rows.device.type == "cpu" and rows.is_floating_point() and rows.shape[-2] == 1


def _mm(rows, matrix):
    return _summed(rows, matrix) if _is_one_row(rows) else NotImplemented


def _addmm(bias, rows, matrix, *, beta=1, alpha=1):
    return beta * bias + alpha * _summed(rows, matrix) if _is_one_row(rows) else NotImplemented


def _summed(rows, matrices):
    return (rows.mT * matrices).sum(-2, keepdim=True)


#: For `make_fx`. Other products are unchanged.
ONE_ROW_AS_SUM = {_aten.mm.default: _mm, _aten.bmm.default: _mm, _aten.addmm.default: _addmm}
