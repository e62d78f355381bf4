"""The ops of `keras_griffin.ops` with time divided over devices: functions for use inside JAX's `shard_map`.

Every device along one axis of the mesh has the same number of steps, the first device the first ones. Arguments and
results with a time axis, T below, are this device's own; all others are the same on every device. The results, and
their gradients, are those of the op over the whole sequence.

Communication does not grow with T: a scan sends two rows of each device to all, with resets a third; a convolution
sends its newest K - 1 steps, and local attention its newest W - 1 keys and values, to the next device.

`keras_griffin.distribution.sequence_parallel` divides a whole model in this way.
"""

import importlib

import keras

from keras_griffin import ops
from keras_griffin.ops.linear_scan.numbers import Number
from keras_griffin.ops.time_axis import time_along
from keras_griffin.shapes import Tensor


def linear_scan(
    decay: Number,
    inputs: Number,
    initial_state: Number | None = None,
    *,
    axis_name: str,
    reset: Tensor | None = None,
    mask: Tensor | None = None,
    reverse: bool = False,
) -> tuple[Number, Number]:
    """`keras_griffin.ops.linear_scan` over divided time.

        s_k = the last state of device k's steps from zero        P_k = the product of their decays
        H_0 = h_0        H_{k+1} = P_k H_k + s_k, or s_k if there is a reset among the steps

    Each device scans from zero, all exchange P, s and whether there is a reset, and each scans again from its H. The
    gradient does the same backwards.

    Args:
        decay: a, `(B, T, D)` float, or a pair `(real, imaginary)` as everywhere below.
        inputs: x, `(B, T, D)` float.
        initial_state: h_0 of the whole sequence, `(B, D)` float; None for zeros.
        axis_name: the axis of the mesh along which time is divided.
        reset: `(B, T)` bool; the state is set to zero before a True step.
        mask: `(B, T)` bool; a False step leaves the state unchanged.
        reverse: run from the last step of the last device to the first of the first.

    Returns:
        (states, final_state): this device's, `(B, T, D)`, and the last one of all, `(B, D)`, as the op gives them.

    Raises:
        ValueError: the backend is not JAX, there is no such axis, or the op refuses the arguments.

    Reference: De et al. 2024 (arXiv 2402.19427), equation 4.
    """
    with _divided("linear_scan", axis_name):
        return ops.linear_scan(decay, inputs, initial_state, reset=reset, mask=mask, reverse=reverse)


def rg_lru(
    inputs: Number,
    input_gate_logits: Tensor,
    recurrence_gate_logits: Tensor,
    decay_parameter: Tensor,
    initial_state: Number | None = None,
    *,
    axis_name: str,
    phase: Tensor | None = None,
    exponent: float = 8.0,
    reset: Tensor | None = None,
    mask: Tensor | None = None,
    reverse: bool = False,
) -> tuple[Number, Number]:
    """`keras_griffin.ops.rg_lru` over divided time; see `linear_scan`.

    Args:
        inputs: x, `(B, T, D)` float; with a phase a pair `(real, imaginary)`.
        input_gate_logits: `(B, T, D)` float.
        recurrence_gate_logits: `(B, T, D)` float.
        decay_parameter: Lambda, `(D,)` float.
        initial_state: h_0 of the whole sequence, `(B, D)` float, or a pair; None for zeros.
        axis_name: the axis of the mesh along which time is divided.
        phase: theta, `(D,)` float, radians; None for a real unit.
        exponent: c, positive.
        reset: `(B, T)` bool; at a True step a_t = 0.
        mask: `(B, T)` bool; a False step leaves the state unchanged.
        reverse: run from the last step of the last device to the first of the first.

    Returns:
        (states, final_state): this device's, `(B, T, D)`, and the last one of all, `(B, D)`, as the op gives them.

    Raises:
        ValueError: the backend is not JAX, there is no such axis, or the op refuses the arguments.

    Reference: De et al. 2024 (arXiv 2402.19427), equations 1 to 4.
    """
    tensors = inputs, input_gate_logits, recurrence_gate_logits, decay_parameter, initial_state
    with _divided("rg_lru", axis_name):
        return ops.rg_lru(*tensors, phase=phase, exponent=exponent, reset=reset, mask=mask, reverse=reverse)


def causal_conv(
    inputs: Tensor, kernel: Tensor, bias: Tensor | None = None, *, axis_name: str, reset: Tensor | None = None
) -> Tensor:
    """`keras_griffin.ops.causal_conv` over divided time.

    A device gets the K - 1 steps before its own from the previous device, or from several if one has fewer steps.

    Args:
        inputs: `(B, T, D)` float.
        kernel: `(K, D)`, the current step's tap last.
        bias: `(D,)`, or None for none.
        axis_name: the axis of the mesh along which time is divided.
        reset: `(B, T)` bool; no tap reaches from a True step or a later one to the steps before it.

    Returns:
        `(B, T, D)`, dtype of `inputs`.

    Raises:
        ValueError: the backend is not JAX, there is no such axis, or the op refuses the arguments.

    Reference: De et al. 2024 (arXiv 2402.19427), section 2.3.
    """
    with _divided("causal_conv", axis_name):
        return ops.causal_conv(inputs, kernel, bias, reset=reset)[0]


def local_attention(
    query: Tensor, key: Tensor, value: Tensor, window: int, *, axis_name: str, segment_ids: Tensor | None = None
) -> Tensor:
    """`keras_griffin.ops.local_attention` over divided time.

    A device gets the W - 1 keys and values before its own from the previous device, or from several if one has fewer
    steps. Rotary positions, if any, count from the first step of the whole sequence.

    Args:
        query: `(B, T, N, H)` float.
        key: `(B, T, K, H)`, K dividing N.
        value: `(B, T, K, H)`.
        window: W, how many keys a query sees, including its own.
        axis_name: the axis of the mesh along which time is divided.
        segment_ids: `(B, T)` integers; a query sees only keys with its own id. None for one segment.

    Returns:
        `(B, T, N, H)`, dtype of `query`.

    Raises:
        ValueError: the backend is not JAX, there is no such axis, or the op refuses the arguments.

    Reference: De et al. 2024 (arXiv 2402.19427), section 2.3.
    """
    with _divided("local_attention", axis_name):
        return ops.local_attention(query, key, value, window, segment_ids=segment_ids)


def require_jax(function_name: str):
    """Check that the backend can divide time.

    Raises:
        ValueError: it is not JAX.
    """
    backend = keras.backend.backend()
    if backend != "jax":
        raise ValueError(
            f"{function_name}: the backend must be jax, whose shard_map divides time over devices. Got {backend}."
        )


def _divided(function_name, axis_name):
    require_jax(function_name)
    # Registers the ops' rules.
    importlib.import_module("keras_griffin.distribution.jax_divided_time")
    return time_along(axis_name)
