"""h_t = a_t * h_{t-1} + x_t: the contract, and the table of implementations.

An implementation gets and returns numbers as tuples of components, `(real,)` or `(real, imaginary)`; see `ScanOp`. The
decorator `with_marks_applied` handles marks and dtypes for one that doesn't.
"""

from keras_griffin.ops.implementation import Implementation
from keras_griffin.ops.recurrence.marks import apply_marks
from keras_griffin.ops.recurrence.numbers import Number
from keras_griffin.ops.recurrence.one_step import one_step
from keras_griffin.ops.recurrence.scan_op import ScanOp
from keras_griffin.shapes import Tensor

SCAN = ScanOp(
    "linear_scan",
    __name__,
    "decay btd, inputs btd | bd -> inputs",
    [
        Implementation("jax_pallas_tpu", backend="jax", automatic=("tpu",), interpreted=True),
        Implementation("jax_loop", backend="jax", automatic=("cpu", "tpu")),
        Implementation("jax_triton", backend="jax", automatic=("gpu",), interpreted=True),
        Implementation("jax_associative", backend="jax", automatic=("gpu",)),
        Implementation("torch_triton", backend="torch", automatic=("gpu",), interpreted=True),
        Implementation("torch_loop", backend="torch"),
        Implementation("torch_exported", backend="torch", exported=True),
        Implementation("tensorflow_loop", backend="tensorflow"),
        Implementation("numpy_loop", backend="numpy"),
        Implementation("portable"),
        Implementation("reference", automatic=(), needs_values=True),
    ],
    one_step=lambda decay, inputs, initial_state, marks, reverse: one_step(
        *apply_marks(decay, inputs, marks, initial_state[0].dtype), initial_state, marks
    ),
    node="LinearScan",
    pairs=("decay", "inputs", "initial_state"),
)


def linear_scan(
    decay: Number,
    inputs: Number,
    initial_state: Number | None = None,
    *,
    reset: Tensor | None = None,
    mask: Tensor | None = None,
    reverse: bool = False,
) -> tuple[Number, Number]:
    """Run a linear recurrence along time.

        h_t = a_t * h_{t-1} + x_t        t = 1 .. T

    In a complex recurrence decay, inputs and initial_state, and then states and final_state, are each a pair
    `(real, imaginary)` of such tensors.

    Args:
        decay: a, `(B, T, D)` float.
        inputs: x, `(B, T, D)` float; any size may be 0.
        initial_state: h_0, `(B, D)` float; None for zeros.
        reset: `(B, T)` bool; the state is set to zero before a True step: values before the step affect no output from
            it on, and gradients from it on do not reach back, even where they are not finite. (A decay of zero only
            multiplies, and 0 times NaN is NaN.) None for all False.
        mask: `(B, T)` bool; a False step leaves the state unchanged and outputs it: decay, inputs and reset are ignored
            there. None for all True.
        reverse: run from the last step to the first, h_t = a_t * h_{t+1} + x_t. "Before" then means after.

    Returns:
        (states, final_state): every h_t, `(B, T, D)` in the dtype of `inputs`, and the last one computed, `(B, D)` in
        the accumulation dtype. Differentiable in decay, inputs and initial_state: once, and any number of times on
        PyTorch.

    Precision: accumulates in float32 (float64 for float64 `inputs`) and rounds `states` once.

    Raises:
        ValueError: pairs are mixed with single tensors, the shapes do not fit, a dtype is not floating, `reset` or
            `mask` is not boolean, or the requested implementation can't serve the call.

    Reference: De et al. 2024 (arXiv 2402.19427), equation 4; appendix B, equation 13 for the complex case.
    """
    return SCAN(decay, inputs, initial_state=initial_state, reset=reset, mask=mask, reverse=reverse)
