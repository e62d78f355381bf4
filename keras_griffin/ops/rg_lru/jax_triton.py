"""On JAX with an NVIDIA GPU: PyTorch's kernels in Triton; see `triton_passes.py`."""

import functools

from keras_griffin.ops.recurrence.kernels import jax_triton_launch
from keras_griffin.ops.rg_lru import triton_passes
from keras_griffin.ops.rg_lru.jax_gradient import of_kernels

supports = jax_triton_launch.supports
rg_lru = of_kernels(
    functools.partial(triton_passes.scan, jax_triton_launch),
    functools.partial(triton_passes.scan_gradient, jax_triton_launch),
)
