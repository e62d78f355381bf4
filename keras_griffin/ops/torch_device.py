"""The kind of device that Keras computes on with PyTorch."""

import keras


def device_kind() -> str:
    """`"cpu"` or `"gpu"`, following `keras.device` scopes."""
    return "cpu" if keras.ops.zeros(()).device.type == "cpu" else "gpu"
