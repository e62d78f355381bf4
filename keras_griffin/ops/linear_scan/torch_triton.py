"""On PyTorch with a GPU: kernels in Triton that read and write every array once; see `triton_passes.py`."""

import functools

from keras_griffin.ops.linear_scan.torch_operator import call, operators
from keras_griffin.ops.recurrence.kernels import torch_triton_launch, triton_passes

supports = torch_triton_launch.supports
_linear_scan, _gradient = operators(
    "linear_scan_triton",
    functools.partial(triton_passes.scan, torch_triton_launch),
    functools.partial(triton_passes.scan_gradient, torch_triton_launch),
)
linear_scan = functools.partial(call, _linear_scan)
