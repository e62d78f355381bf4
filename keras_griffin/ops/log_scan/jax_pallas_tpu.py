"""On JAX on a TPU: Pallas kernels that read each number once, keep the state on chip, and write each result once."""

import functools

from keras_griffin.ops.linear_scan.jax_pallas import supports_on
from keras_griffin.ops.linear_scan.jax_pallas_tpu_walk import scan, scan_gradient
from keras_griffin.ops.log_scan.jax_pallas import differentiable

supports = supports_on("tpu")
log_scan = differentiable(functools.partial(scan, cost=(10, 2)), functools.partial(scan_gradient, cost=(12, 4)))
