"""On JAX: like the loop, around a parallel prefix scan."""

from keras_griffin.ops.linear_scan import jax_associative
from keras_griffin.ops.rg_lru.jax_loop import recomputing

supports = jax_associative.supports
rg_lru = recomputing(jax_associative.scan, jax_associative.scan_gradient)
