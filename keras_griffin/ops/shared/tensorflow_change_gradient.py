"""`change_gradient` on TensorFlow."""

import tensorflow as tf


def change_gradient(rule, shapes, outputs, tensors, marks):
    """The contract is `keras_griffin.ops.shared.change_gradient`."""

    @tf.custom_gradient
    def change(outputs, *tensors):
        def backward(*cotangents):
            changed, *gradients = rule(tf.nest.pack_sequence_as(outputs, cotangents), shapes, *marks)
            return *tf.nest.flatten(changed), *gradients

        return tf.nest.map_structure(tf.identity, outputs), backward

    return change(outputs, *tensors)
