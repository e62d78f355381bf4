"""The whole RG-LRU, gates and scan, as one op: the contract, and the table of implementations.

An implementation gets a `GatedScanInputs`, and returns components in the accumulation dtype; see `ScanOp`.
"""

import math

from keras_griffin.ops.bounded_sqrt import bounded_sqrt
from keras_griffin.ops.implementation import Implementation
from keras_griffin.ops.recurrence.numbers import Number
from keras_griffin.ops.recurrence.one_step import one_step
from keras_griffin.ops.recurrence.scan_op import ScanOp
from keras_griffin.ops.rg_lru.gates import GatedScanInputs, gates
from keras_griffin.shapes import Tensor


def _one_step(unit, initial_state, marks, exponent, reverse):
    return one_step(*gates(unit, marks, exponent, initial_state[0].dtype, bounded_sqrt), initial_state, marks)


SCAN = ScanOp(
    "rg_lru",
    __name__,
    "inputs btd, input_gate_logits btd, recurrence_gate_logits btd, decay_parameter d, phase? d | bd -> inputs",
    [
        Implementation("jax_pallas_tpu", backend="jax", automatic=("tpu",), interpreted=True),
        Implementation("jax_loop", backend="jax", automatic=("cpu", "tpu")),
        Implementation("jax_triton", backend="jax", automatic=("gpu",), interpreted=True),
        Implementation("jax_associative", backend="jax", automatic=("gpu",)),
        Implementation("torch_triton", backend="torch", automatic=("gpu",), interpreted=True),
        Implementation("torch_loop", backend="torch"),
        Implementation("tensorflow_loop", backend="tensorflow"),
        Implementation("portable"),
        # Chosen without a request only where no other serves: NumPy in float64.
        Implementation("reference", automatic=("cpu",), needs_values=True),
    ],
    one_step=_one_step,
    node="GatedScan",
    pairs=("inputs", "initial_state"),
    pack=lambda *tensors: (GatedScanInputs(*tensors),),
)


def rg_lru(
    inputs: Number,
    input_gate_logits: Tensor,
    recurrence_gate_logits: Tensor,
    decay_parameter: Tensor,
    initial_state: Number | None = None,
    *,
    phase: Tensor | None = None,
    exponent: float = 8.0,
    reset: Tensor | None = None,
    mask: Tensor | None = None,
    reverse: bool = False,
) -> tuple[Number, Number]:
    """Run a real- or complex-gated linear recurrent unit along time.

        r_t = sigmoid(recurrence_gate_logits_t),  i_t = sigmoid(input_gate_logits_t)
        a_t = sigmoid(Lambda)^(c r_t)                      with a phase: times exp(i c r_t theta)
        h_t = a_t * h_{t-1} + sqrt(1 - |a_t|^2) * (i_t * x_t)

    The gates are recomputed for the gradient, so that only the three input arrays and the states are stored for it.

    With a phase, inputs and initial_state, and then states and final_state, are each a pair `(real, imaginary)` of such
    tensors.

    Args:
        inputs: x, `(B, T, D)` float; any size may be 0.
        input_gate_logits: `(B, T, D)` float.
        recurrence_gate_logits: `(B, T, D)` float.
        decay_parameter: Lambda, `(D,)` float.
        initial_state: h_0, `(B, D)` float; None for zeros.
        phase: theta, `(D,)` float, radians; None for a real unit.
        exponent: c, positive and finite.
        reset: `(B, T)` bool; at a True step a_t = 0: values before it affect no output from it on, and gradients from
            it on do not reach back, even where they are not finite. None for all False.
        mask: `(B, T)` bool; a False step leaves the state unchanged and outputs it: the other arrays are ignored there.
            None for all True.
        reverse: run from the last step to the first.

    Returns:
        (states, final_state): every h_t, `(B, T, D)` in the dtype of `inputs`, and the last one computed, `(B, D)` in
        the accumulation dtype. Differentiable in all floating tensors: once, and any number of times on PyTorch. The
        square root's derivative is at most 1000, as in `bounded_sqrt`.

    Precision: everything in float32, or in float64 for float64 `inputs` (except, on JAX, the sine and cosine of a
    phase, which are Keras's); `states` and gradients are rounded once.

    Raises:
        ValueError: the shapes do not fit, a dtype is not floating, `reset` or `mask` is not boolean, pairs are given
            without a phase or a phase without pairs, the exponent is not positive and finite, or the requested
            implementation can't serve the call.

    Reference: De et al. 2024 (arXiv 2402.19427), equations 1 to 4; appendix B, equations 10 to 13 for the complex unit.
    """
    parts = 2 if isinstance(inputs, tuple | list) else 1
    if parts != (1 if phase is None else 2):
        raise ValueError(
            "rg_lru: inputs must be a pair (real, imaginary) with a phase, and a tensor without. "
            f"Got inputs of {parts} and {'no phase' if phase is None else 'a phase'}."
        )
    if not 0 < exponent < math.inf:
        raise ValueError(f"rg_lru: exponent must be positive and finite. Got {exponent}.")
    tensors = inputs, input_gate_logits, recurrence_gate_logits, decay_parameter, phase
    marks = {"reset": reset, "mask": mask}
    return SCAN(*tensors, initial_state=initial_state, **marks, exponent=exponent, reverse=reverse)
