"""The kind of device that TensorFlow computes on."""

import tensorflow as tf


def device_kind() -> str:
    """`"cpu"`, `"gpu"` or `"tpu"`."""
    for kind in ("TPU", "GPU"):
        if tf.config.list_logical_devices(kind):
            return kind.lower()
    return "cpu"
