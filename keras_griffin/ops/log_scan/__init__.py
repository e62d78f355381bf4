"""L_t = log(exp(L_{t-1} + d_t) + exp(x_t)): the contract, and the table of implementations.

It is `linear_scan` in the arithmetic of `log_numbers.py`. With g_t the share of the past in L_t, a gradient is a
`linear_scan` with the decays g_t in the other direction.
"""

from keras_griffin.ops.implementation import Implementation
from keras_griffin.ops.log_scan.log_numbers import LOG, NOTHING, apply_marks
from keras_griffin.ops.recurrence.marks import forgetting, zero_where
from keras_griffin.ops.recurrence.scan_op import ScanOp
from keras_griffin.shapes import Tensor


def _one_step(log_decay, inputs, initial_state, marks):
    decay, inputs = apply_marks(log_decay, inputs, marks, initial_state.dtype)
    past = LOG.times((initial_state[:, None],), (decay,))
    (states,) = LOG.plus(zero_where(forgetting(marks), past, LOG.zero), (inputs,))
    return states, states[:, 0]


SCAN = ScanOp(
    "log_scan",
    __name__,
    "log_decay btd, inputs btd | bd -> inputs",
    [
        Implementation("jax_loop", backend="jax", automatic=("cpu", "tpu")),
        Implementation("torch_loop", backend="torch"),
        Implementation("torch_exported", backend="torch", exported=True),
        Implementation("tensorflow_loop", backend="tensorflow"),
        Implementation("numpy_loop", backend="numpy"),
        Implementation("portable"),
        Implementation("reference", automatic=(), needs_values=True),
    ],
    one_step=_one_step,
    node="LogScan",
    nothing=NOTHING,
)


def log_scan(
    log_decay: Tensor,
    inputs: Tensor,
    initial_state: Tensor | None = None,
    *,
    reset: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run a linear recurrence of positive numbers along time, in logarithms.

        L_t = log(exp(L_{t-1} + d_t) + exp(x_t))        t = 1 .. T

    So exp(L) is `linear_scan` with decays exp(d) and inputs exp(x), which would overflow or vanish. RWKV-4 and AFT
    normalise their averages over time by such a state.

    Args:
        log_decay: d, `(B, T, D)` float, of any sign.
        inputs: x, `(B, T, D)` float; any size may be 0. -1e30 or less, also -inf, adds nothing.
        initial_state: L_0, `(B, D)` float; None for nothing, the logarithm of zero, which is -1e30 and not -inf.
        reset: `(B, T)` bool; the state is set to nothing before a True step: values before the step affect no output
            from it on, and gradients from it on do not reach back, even where they are not finite. log_decay is ignored
            there. None for all False.
        mask: `(B, T)` bool; a False step leaves the state unchanged and outputs it: log_decay, inputs and reset are
            ignored there. None for all True.

    Returns:
        (states, final_state): every L_t, `(B, T, D)` in the dtype of `inputs`, and the last one, `(B, D)` in the
        accumulation dtype. Differentiable in log_decay, inputs and initial_state: once, and any number of times on
        PyTorch.

    Precision: accumulates in float32 (float64 for float64 `inputs`) and rounds `states` once. No exponential is of a
    positive number, so nothing overflows. A state of magnitude M is as precise as M, in float32 to about 1e-7 M, and
    that is also the relative precision of the gradients.

    Raises:
        ValueError: the shapes do not fit, a dtype is not floating, `reset` or `mask` is not boolean, or the
            requested implementation can't serve the call.

    Reference: Peng et al. 2023 (arXiv 2305.13048), the stable form of RWKV's time mixing as a recurrent cell; for AFT,
    Zhai et al. 2021 (arXiv 2105.14103).
    """
    return SCAN(log_decay, inputs, initial_state=initial_state, reset=reset, mask=mask)
