"""On JAX on a TPU: Pallas kernels that read each number once, keep the state on chip, and write each result once."""

import functools

from keras_griffin.ops.linear_scan.jax_pallas import differentiable, supports_on
from keras_griffin.ops.linear_scan.jax_pallas_tpu_walk import scan, scan_gradient

supports = supports_on("tpu")
linear_scan = differentiable(functools.partial(scan, cost=(2, 0)), functools.partial(scan_gradient, cost=(3, 0)))
