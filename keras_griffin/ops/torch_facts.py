"""What is known before a call on PyTorch."""

import keras
import torch


def device_kind() -> str:
    """`"cpu"` or `"gpu"`, following `keras.device` scopes."""
    return "cpu" if keras.ops.zeros(()).device.type == "cpu" else "gpu"


def has_values(tensors) -> bool:
    """Whether the tensors hold numbers that NumPy may read: False while gradients of them are recorded."""
    return not any(tensor.requires_grad and torch.is_grad_enabled() for tensor in tensors)
