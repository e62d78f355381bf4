"""On JAX on a GPU: Pallas kernels, through Triton, that keep the state in registers and write each result once."""

from keras_griffin.ops.linear_scan.jax_pallas import differentiable, supports_on
from keras_griffin.ops.linear_scan.jax_pallas_gpu_walk import scan, scan_gradient

supports = supports_on("gpu")
linear_scan = differentiable(scan, scan_gradient)
