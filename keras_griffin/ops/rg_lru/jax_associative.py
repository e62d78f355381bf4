"""On JAX: like the loop, around a parallel prefix scan."""

from keras_griffin.ops.recurrence import jax_prefix
from keras_griffin.ops.rg_lru.jax_loop import recomputing, supports

__all__ = ["rg_lru", "supports"]

rg_lru = recomputing(jax_prefix.scan, jax_prefix.scan_gradient)
