"""Gradients of one's own on TensorFlow, of functions compiled by XLA."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from keras_griffin.shapes import Tensor


def with_gradient(forward: Callable, backward: Callable, tensors: Sequence[Tensor], like: Sequence[Tensor]) -> list:
    """The results of `forward(tensors) -> (results, kept)`, shaped like `like`.

    `backward(kept, gradients)` returns the gradients for the tensors.
    """

    @tf.custom_gradient
    def call(*tensors):
        # Hidden from tapes, which would turn the compiled function into another one that stores every step's arrays.
        results, kept = forward([tf.stop_gradient(tensor) for tensor in tensors])
        return results, lambda *gradients: backward(kept, gradients)

    return [tf.ensure_shape(y, x.shape) for y, x in zip(call(*tensors), like, strict=True)]


def compiled(function: Callable) -> Callable:
    """The function, traced for few kinds of arguments and compiled once for each shape."""
    return tf.function(function, jit_compile=True, autograph=False, reduce_retracing=True)
