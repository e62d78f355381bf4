"""The kind of device that JAX computes on."""

import jax


def device_kind() -> str:
    """`"cpu"`, `"gpu"` or `"tpu"`."""
    platform = jax.default_backend()
    return platform if platform in ("cpu", "tpu") else "gpu"
