"""On JAX: one compiled loop over chunks of time, and one back, with some sqrt(T) states kept; see `in_place.py`."""

import math
import sys

from jax import lax
from jax import numpy as jnp

from keras_griffin.ops.recurrence.jax_gradient import with_gradient
from keras_griffin.ops.selective_scan.in_place import InPlace
from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs, with_mask_applied
from keras_griffin.shapes import Tensor

#: The steps of a chunk, if T is free.
CHUNK = 32


def supports(facts) -> str | None:
    """Everything on JAX."""
    return None


@with_mask_applied
def selective_scan(
    selection: SelectiveScanInputs, initial_state: Tensor, reset: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The outputs and the last state; see the package."""
    return _call((selection, initial_state, reset), ())


def chunks_of(array):
    """About sqrt(T) steps, and a divisor of T if there is one: padding copies every sequence."""
    length = array.shape[1]
    if not isinstance(length, int):
        # In exported programs it is free.
        return -(-length // CHUNK), CHUNK
    root = math.isqrt(length)
    divisors = [steps for steps in range((root + 1) // 2, 2 * root + 1) if length % steps == 0]
    chunks = math.ceil(length / min(divisors, key=lambda steps: abs(steps - root), default=root))
    return chunks, math.ceil(length / chunks)


def at(array, place, axis):
    """A slice."""
    return lax.dynamic_index_in_dim(array, place, axis, keepdims=False)


def padded(array, length):
    """A copy, where the length differs."""
    beyond = length - array.shape[1]
    if isinstance(beyond, int) and not beyond:
        return array
    return jnp.pad(array, [(0, 0), (0, beyond), *[(0, 0)] * (array.ndim - 2)])


def stacked(array, count):
    """A copy."""
    return jnp.broadcast_to(array, (count, *array.shape))


def loop(count, step, carried):
    """Compiled."""
    return lax.fori_loop(0, count, lambda t, carried: step(t, *carried), carried)


_LOOPS = InPlace(sys.modules[__name__])


def _forward(tensors):
    selection, _, reset = tensors
    outputs, final_state, starts = _LOOPS.scan(*tensors)
    return (outputs, final_state), (selection, starts, reset)


def _backward(kept, gradients):
    return *_LOOPS.scan_gradient(*kept, gradients), None


_call = with_gradient(_forward, _backward)
