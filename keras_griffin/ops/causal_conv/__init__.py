"""Causal depthwise convolution along time."""

import keras
from keras import ops

from keras_griffin import backends
from keras_griffin.ops.causal_conv.many_taps import sum_of_many_taps
from keras_griffin.ops.chunked.few_taps import sum_of_few_taps
from keras_griffin.ops.shared.arguments import as_tensor, check_floating, check_steps, is_symbolic, shape_fits
from keras_griffin.ops.shared.compaction import on_real_steps, take_steps
from keras_griffin.ops.shared.padding import padded_steps
from keras_griffin.ops.shared.time_axis import divided_rule
from keras_griffin.shapes import Tensor

#: The most taps that are summed one after the other.
FEW = 16


def causal_conv(
    inputs: Tensor,
    kernel: Tensor,
    bias: Tensor | None = None,
    initial_state: Tensor | None = None,
    *,
    reset: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Convolve each channel over its newest K steps.

        y_t = bias + sum_s kernel[K - 1 - s] * x_{t - s}        s = 0 .. K - 1

    Args:
        inputs: `(B, T, D)` float; any size may be 0.
        kernel: `(K, D)`, the current step's tap last.
        bias: `(D,)`, or None for none.
        initial_state: `(B, K - 1, D)`, the inputs before the first, oldest first; None for zeros.
        reset: `(B, T)` bool; from a True step on, no tap reaches the steps before it.
        mask: `(B, T)` bool; a False step outputs zero and is skipped: no tap reads it, and a reset at it has no effect.

    Returns:
        (outputs, final_state): `(B, T, D)` in the dtype of `inputs`, and `(B, K - 1, D)` in that of `initial_state`
        (of `inputs` if there is none): the newest inputs, zeros in place of those before the last reset.

    Precision: products and sums in float32, or in float64 for float64 `inputs`, rounded once. More than 16 taps are
    multiplied by Fourier transforms of up to 2 K steps, in time O(T log^2 K), and still exactly: a number that no tap
    of a step reaches leaves no trace in its output, not even NaN.

    Raises:
        ValueError: the shapes do not fit, a dtype is not floating, or `reset` or `mask` is not boolean.

    Reference: De et al. 2024 (arXiv 2402.19427), section 2.3.
    """
    arguments = [as_tensor(argument) for argument in (inputs, kernel, bias, initial_state, reset, mask)]
    _check(*arguments)
    if is_symbolic(*arguments):
        return CausalConv()(*arguments)
    return (divided_rule("causal_conv") or _causal_conv)(*arguments)


@keras.saving.register_keras_serializable("keras_griffin")
class CausalConv(keras.Operation):
    """`causal_conv` as a node of a functional model."""

    def call(self, inputs, kernel, bias, initial_state, reset, mask):
        return _causal_conv(inputs, kernel, bias, initial_state, reset, mask)

    def compute_output_spec(self, inputs, kernel, bias, initial_state, reset, mask):
        batch_size, _, width = inputs.shape
        state_dtype = inputs.dtype if initial_state is None else initial_state.dtype
        state_shape = (batch_size, kernel.shape[0] - 1, width)
        return keras.KerasTensor(inputs.shape, inputs.dtype), keras.KerasTensor(state_shape, state_dtype)


def _check(inputs, kernel, bias, initial_state, reset, mask):
    if len(inputs.shape) != 3 or len(kernel.shape) != 2 or kernel.shape[0] == 0:
        raise ValueError(
            "causal_conv: inputs must have shape (B, T, D) and kernel (K, D), with K at least 1. "
            f"Got inputs {tuple(inputs.shape)} and kernel {tuple(kernel.shape)}."
        )
    batch_size, length, width = inputs.shape
    taps = kernel.shape[0]
    expected = {
        "kernel": (kernel, (taps, width)),
        "bias": (bias, (width,)),
        "initial_state": (initial_state, (batch_size, taps - 1, width)),
    }
    for name, (tensor, shape) in expected.items():
        if tensor is not None and not shape_fits(tensor, shape):
            raise ValueError(
                f"causal_conv: {name} must have shape {shape} for inputs {tuple(inputs.shape)} and {taps} taps. "
                f"Got {tuple(tensor.shape)}."
            )
    check_floating("causal_conv", inputs=inputs, kernel=kernel, bias=bias, initial_state=initial_state)
    check_steps("causal_conv", (batch_size, length), reset=reset, mask=mask)


def _causal_conv(inputs, kernel, bias, initial_state, reset, mask):
    # With the real steps at the front, no tap meets a masked one.
    function = lambda *steps: _convolve(kernel, bias, initial_state, *steps)  # noqa: E731
    return on_real_steps(function, inputs, reset, mask)


def _convolve(kernel, bias, initial_state, inputs, reset, real):
    """The convolution of the first `real` `(B, 1)` steps of each row, all if None; the other outputs are undefined."""
    taps = kernel.shape[0]
    dtype = keras.backend.standardize_dtype(inputs.dtype)
    precise = "float64" if dtype == "float64" else "float32"
    batch_size, length, width = ops.shape(inputs)
    if initial_state is None:
        initial_state = ops.zeros((batch_size, taps - 1, width), dtype)
    history = ops.concatenate([ops.cast(initial_state, precise), ops.cast(inputs, precise)], axis=1)
    # The number of resets up to each step of the history.
    document = None if reset is None else padded_steps(ops.cumsum(ops.cast(reset, "int32"), axis=1), taps - 1)

    outputs = _sum_of_taps(history, document, ops.cast(kernel, precise))
    if bias is not None:
        outputs = outputs + ops.cast(bias, precise)
    newest = slice(length, None) if real is None else real + ops.arange(taps - 1, dtype="int32")
    # TensorFlow loses the shape if the length is not known before the graph runs.
    final_state = ops.reshape(_newest(history, document, newest), (batch_size, taps - 1, width))
    return ops.cast(outputs, dtype), ops.cast(final_state, initial_state.dtype)


def _sum_of_taps(history, document, kernel):
    taps = kernel.shape[0]
    if history.shape[1] == taps and (document is None or taps > FEW):
        # A single step, as in decoding.
        if document is not None:
            history = ops.where(ops.expand_dims(document == document[:, -1:], -1), history, 0)
        return ops.sum(history * kernel, axis=1, keepdims=True)
    if taps > FEW:
        if document is None and backends.active().is_exported():
            # One node of the program.
            return ops.depthwise_conv(history, kernel[..., None], data_format="channels_last")
        if 0 in history.shape or history.shape[1] == taps - 1:
            return history[:, taps - 1 :] * kernel[:1]
        return sum_of_many_taps(history, document, kernel)
    return sum_of_few_taps(history, document, kernel)


def _newest(history, document, steps):
    """The chosen steps, a slice or `(B, K - 1)`, of the history; zeros for those before the last reset."""

    def take(x):
        return x[:, steps] if isinstance(steps, slice) else take_steps(x, steps)

    if document is None:
        return take(history)
    return ops.where(ops.expand_dims(take(document) == document[:, -1:], -1), take(history), 0)
