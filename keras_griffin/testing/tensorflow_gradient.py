"""Value and gradient on TensorFlow."""

import tensorflow as tf


def value_and_gradient(function, tensors):
    """The value of `function(*tensors)` and its gradient for each tensor, traced as a graph."""

    @tf.function
    def traced(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        return value, tape.gradient(value, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    return traced(*tensors)
