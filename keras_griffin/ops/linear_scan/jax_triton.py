"""On JAX with an NVIDIA GPU: PyTorch's kernels in Triton; see `triton_passes.py`."""

import functools

from keras_griffin.ops.recurrence.jax_gradient import of_kernels
from keras_griffin.ops.recurrence.kernels import jax_triton_launch, triton_passes

supports = jax_triton_launch.supports
linear_scan = of_kernels(
    functools.partial(triton_passes.scan, jax_triton_launch),
    functools.partial(triton_passes.scan_gradient, jax_triton_launch),
)
