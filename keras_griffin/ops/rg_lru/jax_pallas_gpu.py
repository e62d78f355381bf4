"""On JAX on a GPU: Pallas kernels, through Triton, that compute the gates in registers, and again for the gradient."""

import functools

from keras_griffin.ops.linear_scan.jax_pallas import supports_on
from keras_griffin.ops.linear_scan.jax_pallas_gpu_walk import scan, scan_gradient
from keras_griffin.ops.rg_lru.jax_pallas import differentiable

#: Rows loaded at once: fewer than in `linear_scan`, since a step reads more arrays here.
ROWS = 4

supports = supports_on("gpu")
rg_lru = differentiable(functools.partial(scan, rows=ROWS), functools.partial(scan_gradient, rows=ROWS))
