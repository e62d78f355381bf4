"""Time divided over devices, for the ops inside JAX's `shard_map`."""

import contextlib
import importlib

import keras

from keras_griffin.ops.shared import time_axis


def time_along(axis_name: str) -> contextlib.AbstractContextManager:
    """Inside the `with` block, ops run over time that is divided along an axis of the mesh.

    For a scan over devices k,

        s_k = the last state of device k's steps from zero        P_k = the product of their decays
        H_0 = h_0        H_{k+1} = P_k H_k + s_k, or s_k if there is a reset among the steps

    Each device scans from zero, all exchange P, s and whether there is a reset, and each scans again from its H. The
    gradient does the same backwards. A convolution gets the K - 1 steps before a device's own from the devices before
    it, and local attention the W - 1 keys and values.

    Of `keras_griffin.ops`, the scans whose state is carried by a product of elements (`linear_scan`, `rg_lru`,
    `selective_scan`, `log_scan`, `gated_linear_attention`, diagonal `state_space`), and `causal_conv` and
    `local_attention` without a mask, have rules for divided time; another op that reads along time raises an error.
    Every device along the axis has the same number of steps, the first device the first ones. Arguments and results
    with a time axis are the device's own; all others are the same on every device. The results, and their gradients,
    are those of the op over the whole sequence. Communication does not grow with T. `sequence_parallel` divides a whole
    model in this way.

    Args:
        axis_name: of the mesh of the enclosing `shard_map`. An op raises a `ValueError` if there is no such axis.

    Returns:
        A context manager.

    Raises:
        ValueError: the backend is not JAX.

    Reference: De et al. 2024 (arXiv 2402.19427), equations 1 to 4 and section 2.3.
    """
    require_jax("time_along")
    # Registers the ops' rules.
    importlib.import_module("keras_griffin.distribution.jax_divided_time")
    return time_axis.time_along(axis_name)


def require_jax(function_name: str):
    """Raise a ValueError unless the backend can divide time."""
    backend = keras.backend.backend()
    if backend != "jax":
        raise ValueError(
            f"{function_name}: the backend must be jax, whose shard_map divides time over devices. Got {backend}."
        )
