"""What is known before a call on TensorFlow."""

import tensorflow as tf


def device_kind() -> str:
    """`"cpu"`, `"gpu"` or `"tpu"`."""
    for kind in ("TPU", "GPU"):
        if tf.config.list_logical_devices(kind):
            return kind.lower()
    return "cpu"


def has_strategy() -> bool:
    """Whether a `tf.distribute` strategy is in force, under which Keras builds models from means of batches."""
    return tf.distribute.has_strategy()


def has_values(tensors) -> bool:
    """Whether the tensors hold numbers: False while a graph is made. A tape outside of any graph can't be seen."""
    return tf.executing_eagerly()
