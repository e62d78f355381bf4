"""h_t = exp(s_t A) h_{t-1} + s_t b_t u_t, y_t = c_t h_t: the contract, and the table of implementations.

An implementation gets a `SelectiveScanInputs`; see `ScanOp`. The decorator `with_mask_applied` handles the mask for one
that doesn't.

No implementation holds an array `(B, T, D, N)`, forward or backward.
"""

from keras import ops

from keras_griffin.ops.implementation import Implementation
from keras_griffin.ops.recurrence.scan_op import ScanOp
from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs, with_mask_applied
from keras_griffin.shapes import Tensor


@with_mask_applied
def _one_step(selection, initial_state, reset):
    """The equations."""
    inputs, sizes, rates, b, c = (ops.cast(x, initial_state.dtype) for x in selection)
    past = initial_state if reset is None else ops.where(reset[..., None], 0.0, initial_state)
    sizes = ops.swapaxes(sizes, 1, 2)
    state = ops.exp(sizes * rates) * past + sizes * ops.swapaxes(inputs, 1, 2) * b
    return ops.sum(c * state, axis=2)[:, None], state


SCAN = ScanOp(
    "selective_scan",
    __name__,
    "inputs btd, step_sizes btd, rates dn, input_weights btn, output_weights btn | bdn -> inputs",
    [
        Implementation("jax_pallas_tpu", backend="jax", automatic=("tpu",), interpreted=True),
        Implementation("jax_loop", backend="jax", automatic=("cpu", "tpu")),
        Implementation("jax_triton", backend="jax", automatic=("gpu",), interpreted=True),
        Implementation("torch_triton", backend="torch", automatic=("gpu",), interpreted=True),
        Implementation("torch_loop", backend="torch"),
        Implementation("torch_exported", backend="torch", exported=True),
        Implementation("tensorflow_loop", backend="tensorflow"),
        Implementation("tensorflow_exported", backend="tensorflow", exported=True),
        Implementation("numpy_loop", backend="numpy"),
        Implementation("portable"),
        Implementation("reference", automatic=(), needs_values=True),
    ],
    one_step=_one_step,
    node="SelectiveScan",
    pack=lambda *tensors: (SelectiveScanInputs(*tensors),),
)


def selective_scan(
    inputs: Tensor,
    step_sizes: Tensor,
    rates: Tensor,
    input_weights: Tensor,
    output_weights: Tensor,
    initial_state: Tensor | None = None,
    *,
    reset: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run Mamba's selective state space along time: every channel has a state of N numbers.

        h_t[d, n] = exp(s_t[d] A[d, n]) h_{t-1}[d, n] + s_t[d] b_t[n] u_t[d]        t = 1 .. T
        y_t[d]    = sum_n c_t[n] h_t[d, n]

    An array `(B, T, D, N)` is never in memory: states are kept at few steps and computed again for the gradient.

    Args:
        inputs: u, `(B, T, D)` float; any size may be 0.
        step_sizes: s, `(B, T, D)` float, positive (not checked), such as a softplus.
        rates: A, `(D, N)` float, negative (not checked), such as `-exp(parameter)`.
        input_weights: b, `(B, T, N)` float.
        output_weights: c, `(B, T, N)` float.
        initial_state: h_0, `(B, D, N)` float; None for zeros.
        reset: `(B, T)` bool; the state is set to zero before a True step: values before the step affect no output from
            it on, and gradients from it on do not reach back, even where they are not finite. None for all False.
        mask: `(B, T)` bool; a False step leaves the state unchanged and outputs zeros: all sequences and reset are
            ignored there. None for all True.

    Returns:
        (outputs, final_state): every y_t, `(B, T, D)` in the dtype of `inputs`, and h_T, `(B, D, N)` in the
        accumulation dtype. Differentiable in all floating tensors: once, and any number of times on PyTorch.

    Precision: accumulates in float32 (float64 for float64 `inputs`) and rounds `outputs` and gradients once.

    Raises:
        ValueError: the shapes do not fit, a dtype is not floating, `reset` or `mask` is not boolean, or the requested
            implementation can't serve the call.

    Reference: Gu and Dao 2023 (arXiv 2312.00752), algorithm 2, with the input matrix discretised as in the authors'
    code: s_t b_t instead of the zero-order hold.

    Examples:
        >>> import keras
        >>> from keras_griffin.ops import selective_scan
        >>> u, weights = keras.ops.ones((1, 6, 4)), keras.ops.ones((1, 6, 2))
        >>> outputs, state = selective_scan(u, 0.1 * u, -keras.ops.ones((4, 2)), weights, weights)
        >>> tuple(outputs.shape), tuple(state.shape)
        ((1, 6, 4), (1, 4, 2))
    """
    tensors = inputs, step_sizes, rates, input_weights, output_weights
    return SCAN(*tensors, initial_state=initial_state, reset=reset, mask=mask)
