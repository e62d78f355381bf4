"""On JAX with an NVIDIA GPU: PyTorch's kernels in Triton; see `triton_passes.py`."""

import functools

from keras_griffin.ops.recurrence.kernels import jax_triton_launch
from keras_griffin.ops.selective_scan import triton_passes
from keras_griffin.ops.selective_scan.jax_gradient import differentiable

supports = jax_triton_launch.supports
selective_scan = differentiable(
    functools.partial(triton_passes.scan, jax_triton_launch),
    functools.partial(triton_passes.scan_gradient, jax_triton_launch),
)
