"""What is known before a call on JAX."""

import jax


def device_kind() -> str:
    """`"cpu"`, `"gpu"` or `"tpu"`."""
    platform = jax.default_backend()
    return platform if platform in ("cpu", "tpu") else "gpu"


def has_values(tensors) -> bool:
    """Whether the tensors hold numbers: False while a function of them is compiled or differentiated."""
    return not any(isinstance(tensor, jax.core.Tracer) for tensor in tensors)
