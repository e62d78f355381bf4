"""The in-place loops of JAX."""

import sys

from jax import lax

from keras_griffin.ops.recurrence.in_place import InPlace


def length(array):
    """See `Arrays`, as for the other functions."""
    return array.shape[1]


def row(array, place):
    """A slice."""
    return lax.dynamic_slice_in_dim(array, place, 1, axis=1)


def loop(stop, step, arrays):
    """Compiled."""
    return lax.fori_loop(1, stop, step, arrays)


_LOOPS = InPlace(sys.modules[__name__])
scan, scan_gradient = _LOOPS.scan, _LOOPS.scan_gradient
