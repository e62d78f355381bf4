"""L_t = log(exp(L_{t-1} + d_t) + exp(x_t)): the contract, and the table of implementations.

An implementation is one file and one row below. Its function

    log_scan(decay, inputs, initial_state, marks) -> (states, final_state)

takes decay and inputs `(B, T, D)` in their original dtypes, T at least 2 and no size 0 (any sizes if they are known
only when the model runs), initial_state `(B, D)` in the accumulation dtype, like final_state, and `Marks`. States may
have either dtype. Its `supports(facts)` returns None, or why it can't serve such a call, in words that follow "It".

It is `linear_scan` in another arithmetic, that of `log_numbers.py`, and implementations take it from there. With g_t
the share of the past in L_t, a gradient is a `linear_scan` with the decays g_t in the other direction.
"""

import keras
from keras import ops

from keras_griffin.ops.arguments import as_tensor, check_floating, check_steps, is_symbolic, shape_fits
from keras_griffin.ops.implementation import Implementation, Op
from keras_griffin.ops.linear_scan.marks import forgetting, marks_of_steps, unless
from keras_griffin.ops.linear_scan.numbers import accumulation_dtype
from keras_griffin.ops.log_scan.log_numbers import LOG, NOTHING, effective
from keras_griffin.ops.time_axis import divided_rule
from keras_griffin.shapes import Tensor

_OP = Op(
    "log_scan",
    __name__,
    [
        Implementation("jax_loop", backend="jax", automatic=("cpu", "tpu")),
        Implementation("torch_loop", backend="torch"),
        Implementation("tensorflow_loop", backend="tensorflow"),
        Implementation("numpy_loop", backend="numpy"),
        Implementation("portable"),
        Implementation("reference", automatic=(), needs_values=True),
    ],
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
        ValueError: the shapes do not fit, a dtype is not floating, `reset` or `mask` is not boolean, the requested
            implementation can't serve the call, or time is divided over devices, for which there is no rule.

    Reference: Peng et al. 2023 (arXiv 2305.13048), the stable form of RWKV's time mixing as a recurrent cell; for AFT,
    Zhai et al. 2021 (arXiv 2105.14103).
    """
    log_decay, inputs, initial_state, reset, mask = map(as_tensor, (log_decay, inputs, initial_state, reset, mask))
    _check(log_decay, inputs, initial_state, reset, mask)
    rule = divided_rule("log_scan")
    if is_symbolic(log_decay, inputs, initial_state, reset, mask):
        return LogScan()(log_decay, inputs, initial_state, reset, mask)
    if rule is not None:
        return rule(log_decay, inputs, initial_state, reset, mask)
    return _scan(log_decay, inputs, initial_state, reset, mask)


@keras.saving.register_keras_serializable("keras_griffin")
class LogScan(keras.Operation):
    """`log_scan` as a node of a functional model."""

    def call(self, log_decay, inputs, initial_state, reset, mask):
        """The values of concrete tensors."""
        return _scan(log_decay, inputs, initial_state, reset, mask)

    def compute_output_spec(self, log_decay, inputs, initial_state, reset, mask):
        """The shapes and dtypes of states and final state."""
        batch_size, _, width = inputs.shape
        final_state = keras.KerasTensor((batch_size, width), accumulation_dtype((inputs,)))
        return keras.KerasTensor(inputs.shape, inputs.dtype), final_state


def _scan(log_decay, inputs, initial_state, reset, mask):
    dtype, accumulated = keras.backend.standardize_dtype(inputs.dtype), accumulation_dtype((inputs,))
    shape = tuple(inputs.shape)
    tensors = [x for x in (log_decay, inputs, initial_state) if x is not None]
    implementation = _OP.choose(shape, dtype, tensors)
    marks = marks_of_steps(reset, mask)
    if initial_state is None:
        # The sum of no steps: zeros on the inputs' device, of a batch size that may be unknown.
        initial_state = ops.cast(ops.sum(inputs[:, :0], axis=1), accumulated) + NOTHING
    initial_state = ops.convert_to_tensor(initial_state, accumulated)
    if 0 in shape:
        states, final_state = inputs, initial_state
    elif shape[1] == 1:
        states = _one_step(*effective(log_decay, inputs, marks, accumulated), initial_state, forgetting(marks))
        final_state = states[:, 0]
    else:
        states, final_state = implementation(log_decay, inputs, initial_state, marks)
    return ops.convert_to_tensor(states, dtype), ops.convert_to_tensor(final_state, accumulated)


def _one_step(decay, inputs, initial_state, forgotten):
    past = LOG.times((initial_state[:, None],), (decay,))
    (states,) = LOG.plus(unless(forgotten, past, LOG.zero), (inputs,))
    return states


def _check(log_decay, inputs, initial_state, reset, mask):
    check_floating("log_scan", log_decay=log_decay, inputs=inputs, initial_state=initial_state)
    shape = tuple(inputs.shape)
    if len(shape) != 3:
        raise ValueError(f"log_scan: inputs must have shape (B, T, D). Got {shape}.")
    batch_size, length, width = shape
    if not shape_fits(log_decay, shape):
        raise ValueError(
            "log_scan: log_decay and inputs must have the same shape. "
            f"Got log_decay {tuple(log_decay.shape)} and inputs {shape}."
        )
    if initial_state is not None and not shape_fits(initial_state, (batch_size, width)):
        raise ValueError(
            f"log_scan: initial_state must have shape {(batch_size, width)} for inputs {shape}. "
            f"Got {tuple(initial_state.shape)}."
        )
    check_steps("log_scan", (batch_size, length), reset=reset, mask=mask)
