"""On JAX on a GPU: Pallas kernels, through Triton, that keep the state in registers and write each result once."""

from keras_griffin.ops.linear_scan.jax_pallas import supports_on
from keras_griffin.ops.linear_scan.jax_pallas_gpu_walk import scan, scan_gradient
from keras_griffin.ops.log_scan.jax_pallas import differentiable

supports = supports_on("gpu")
log_scan = differentiable(scan, scan_gradient)
