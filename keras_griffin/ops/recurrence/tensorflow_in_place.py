"""The in-place loops of TensorFlow, to be compiled by XLA and not differentiated.

Uncompiled, a step of TensorFlow's loops costs several times its arithmetic.
"""

import sys

import tensorflow as tf

from keras_griffin.ops.recurrence.in_place import InPlace


def length(array):
    """See `Arrays`, as for the other functions."""
    return tf.maximum(tf.shape(array)[1], 1)


def row(array, place):
    """A slice."""
    batch_size, length, width = tf.unstack(tf.shape(array))
    return tf.slice(array, [0, place, 0], [batch_size, tf.minimum(length, 1), width])


def loop(stop, step, arrays):
    """A while loop, of a number of steps that may be unknown."""
    return tf.while_loop(lambda t, _: t < stop, lambda t, arrays: (t + 1, step(t, arrays)), (1, arrays))[1]


_LOOPS = InPlace(sys.modules[__name__])
scan, scan_gradient = _LOOPS.scan, _LOOPS.scan_gradient
