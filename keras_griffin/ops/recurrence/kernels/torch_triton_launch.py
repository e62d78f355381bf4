"""On PyTorch with a GPU: how kernels in Triton are launched; the contract is in `triton_passes.py`."""

import importlib.util

import torch
from torch import Tensor

from keras_griffin.ops.recurrence.kernels.triton_passes import OPTIONS


def supports(facts) -> str | None:
    """All but float64, on GPUs that PyTorch uses through CUDA or ROCm."""
    if facts.device != "gpu":
        return "needs a GPU"
    if not (torch.version.cuda or torch.version.hip):
        return "needs PyTorch for CUDA or ROCm"
    if importlib.util.find_spec("triton") is None:
        return "needs Triton, which is not installed"
    return "computes in float32" if facts.dtype == "float64" else None


def chip(array: Tensor) -> tuple[int, int]:
    """The number of a GPU's multiprocessors, and of a warp's threads."""
    properties = torch.cuda.get_device_properties(array.device)
    return properties.multi_processor_count, properties.warp_size


def empty(array: Tensor, shape=None) -> Tensor:
    """An uninitialised array of the same dtype."""
    return torch.empty(array.shape if shape is None else shape, dtype=array.dtype, device=array.device)


def launch(kernel, arguments: tuple, results: tuple, programs: int, **constants) -> tuple:
    """Run a kernel, which writes the results."""
    arguments = in_order(arguments)
    first = arguments[0] if isinstance(arguments[0], Tensor) else arguments[0][0]
    with torch.cuda.device_of(first):
        kernel[(programs,)](*arguments, *results, **constants, **OPTIONS)
    return results


def in_order(value):
    """Nested arguments, with the tensors made contiguous."""
    if isinstance(value, tuple | list):
        return tuple(map(in_order, value))
    return value.contiguous() if isinstance(value, Tensor) else value
