"""PyTorch's own check of the operators of `rg_lru` and `selective_scan`, in the loop and in Triton."""

import torch

from keras_griffin.ops.rg_lru.cases import UnitCase
from keras_griffin.ops.selective_scan.cases import SelectiveCase


def check_operators(op_name, module):
    """Check a module's operator and the one of its gradient."""
    if op_name == "selective_scan":
        check(module._selective_scan, module._gradient, tensors_of(SelectiveCase(9)), slice(2, 3), (None,))
        return
    marks = [torch.tensor([True, False, True]).expand(2, 3)[..., None]] * 2
    for is_complex in (False, True):
        tensors = tensors_of(UnitCase(3, 2, is_complex=is_complex))
        check(module._rg_lru, module._gradient, tensors, slice(1 + is_complex), (*marks, 8.0, False))


def tensors_of(case):
    return [torch.tensor(x.values, dtype=torch.float32, requires_grad=True) for x in case.arguments()]


def check(operator, gradient, tensors, kept, others):
    torch.library.opcheck(operator, (tensors, *others))
    tensors = [x.detach() for x in tensors]
    results = operator(tensors, *others)
    given = [x for i, x in enumerate(results) if kept.start is None or i < kept.start]
    torch.library.opcheck(gradient, (tensors, results[kept], given, *others))
