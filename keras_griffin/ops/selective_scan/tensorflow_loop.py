"""On TensorFlow: one loop over chunks of time, and one back; see `in_place.py`. Both are always compiled by XLA."""

import sys

import tensorflow as tf

from keras_griffin.ops.recurrence.tensorflow_gradient import compiled, with_gradient
from keras_griffin.ops.selective_scan.in_place import InPlace
from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs, with_mask_applied
from keras_griffin.shapes import Tensor

#: The most steps of a chunk. At N = 16 the kept states are half as large as the inputs.
CHUNK = 32


def supports(facts) -> str | None:
    """Everything on TensorFlow."""
    return None


@with_mask_applied
def selective_scan(
    selection: SelectiveScanInputs, initial_state: Tensor, reset: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The outputs and the last state; see the package."""

    def forward(tensors):
        *selection, initial_state = tensors
        selection = SelectiveScanInputs(*selection)
        outputs, final_state, starts = _scan(selection, initial_state, reset)
        return (outputs, final_state), (selection, starts, reset)

    def backward(kept, gradients):
        into, into_start = _scan_gradient(*kept, gradients)
        return *into, into_start

    like = selection.inputs, initial_state
    outputs, final_state = with_gradient(forward, backward, [*selection, initial_state], like)
    return outputs, final_state


def chunks_of(array):
    """At most `CHUNK` steps; an empty sequence is padded to one."""
    length = tf.shape(array)[1]
    chunks = tf.maximum((length + CHUNK - 1) // CHUNK, 1)
    return chunks, tf.maximum((length + chunks - 1) // chunks, 1)


def at(array, place, axis):
    """A slice."""
    return array[(slice(None),) * axis + (place,)]


def padded(array, length):
    """A copy."""
    return tf.pad(array, [[0, 0], [0, length - tf.shape(array)[1]], *[[0, 0]] * (array.shape.rank - 2)])


def stacked(array, count):
    """A copy."""
    return tf.broadcast_to(array, tf.concat([[count], tf.shape(array)], 0))


def loop(count, step, carried):
    """A while loop, of a number of steps that may be unknown."""
    body = lambda t, *carried: (t + 1, *step(t, *carried))  # noqa: E731
    return tf.while_loop(lambda t, *_: t < count, body, (0, *carried))[1:]


_LOOPS = InPlace(sys.modules[__name__])
_scan, _scan_gradient = compiled(_LOOPS.scan), compiled(_LOOPS.scan_gradient)
