"""The whole RG-LRU, gates and scan, as one op: the contract, and the table of implementations.

An implementation is one file and one row below. Its function

    rg_lru(unit, initial_state, marks, exponent, reverse) -> (states, final_state)

takes a `Unit` in its original dtypes, components `(B, D)` in the accumulation dtype, and `Marks`; it returns components
in the accumulation dtype. T is at least 2, and no size is 0 (unless it is known only when the model runs). Its
`supports(facts)` returns None, or why it can't serve such a call, in words that follow "It".
"""

import math

import keras
from keras import ops

from keras_griffin.ops.arguments import as_tensor, check_floating, check_steps, is_symbolic, shape_fits
from keras_griffin.ops.bounded_sqrt import bounded_sqrt
from keras_griffin.ops.implementation import Implementation, Op
from keras_griffin.ops.linear_scan import one_step
from keras_griffin.ops.linear_scan.marks import marks_of_steps
from keras_griffin.ops.linear_scan.numbers import Number, accumulation_dtype, cast, components_of, number_of
from keras_griffin.ops.rg_lru.gates import gates
from keras_griffin.ops.rg_lru.unit import Unit
from keras_griffin.ops.time_axis import divided_rule
from keras_griffin.shapes import Tensor

_OP = Op(
    "rg_lru",
    __name__,
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
        the accumulation dtype. Differentiable, once, in all floating tensors. The square root's derivative is at most
        1000, as in `bounded_sqrt`.

    Precision: everything in float32, or in float64 for float64 `inputs` (except, on JAX, the sine and cosine of a
    phase, which are Keras's); `states` and gradients are rounded once.

    Raises:
        ValueError: the shapes do not fit, a dtype is not floating, `reset` or `mask` is not boolean, pairs are given
            without a phase or a phase without pairs, the exponent is not positive and finite, or the requested
            implementation can't serve the call.

    Reference: De et al. 2024 (arXiv 2402.19427), equations 1 to 4; appendix B, equations 10 to 13 for the complex unit.
    """
    tensors = (as_tensor(x) for x in (input_gate_logits, recurrence_gate_logits, decay_parameter, phase))
    unit = Unit(components_of(inputs), *tensors)
    initial_state = components_of(initial_state)
    reset, mask = as_tensor(reset), as_tensor(mask)
    _check(unit, initial_state, reset, mask, exponent)
    rule = divided_rule("rg_lru")
    if is_symbolic(*unit.inputs, *unit[1:], *(initial_state or ()), reset, mask):
        states, final_state = GatedScan(exponent, reverse)(unit.inputs, *unit[1:], initial_state, reset, mask)
    elif rule is not None:
        states, final_state = rule(unit, initial_state, marks=(reset, mask), exponent=exponent, reverse=reverse)
    else:
        states, final_state = _run(unit, initial_state, marks_of_steps(reset, mask), exponent, reverse)
    return number_of(states), number_of(final_state)


@keras.saving.register_keras_serializable("keras_griffin")
class GatedScan(keras.Operation):
    """`rg_lru` of components as a node of a functional model.

    Args:
        exponent: c.
        reverse: run from the last step to the first.
        name: the node's name.
    """

    def __init__(self, exponent: float = 8.0, reverse: bool = False, *, name: str | None = None):
        super().__init__(name=name)
        self.exponent = exponent
        self.reverse = reverse

    def call(
        self, inputs, input_gate_logits, recurrence_gate_logits, decay_parameter, phase, initial_state, reset, mask
    ):
        """The values of concrete tensors."""
        unit = Unit(tuple(inputs), input_gate_logits, recurrence_gate_logits, decay_parameter, phase)
        return _run(unit, initial_state, marks_of_steps(reset, mask), self.exponent, self.reverse)

    def compute_output_spec(
        self, inputs, input_gate_logits, recurrence_gate_logits, decay_parameter, phase, initial_state, reset, mask
    ):
        """The shapes and dtypes of states and final state."""
        batch_size, _, width = inputs[0].shape
        states = tuple(keras.KerasTensor(x.shape, x.dtype) for x in inputs)
        return states, tuple(keras.KerasTensor((batch_size, width), accumulation_dtype(inputs)) for _ in inputs)


def _run(unit, initial_state, marks, exponent, reverse):
    dtype, accumulated = keras.backend.standardize_dtype(unit.inputs[0].dtype), accumulation_dtype(unit.inputs)
    shape = tuple(unit.inputs[0].shape)
    tensors = [x for x in (*unit.inputs, *unit[1:], *(initial_state or ())) if x is not None]
    implementation = _OP.choose(shape, dtype, tensors)
    # The sum of no steps: zeros on the inputs' device, of a batch size that may be unknown.
    initial_state = cast(initial_state or [ops.sum(x[:, :0], axis=1) for x in unit.inputs], accumulated)
    if 0 in shape:
        states, final_state = unit.inputs, initial_state
    elif shape[1] == 1:
        # A decoding step: just the equations.
        states = one_step(*gates(unit, marks, exponent, accumulated, bounded_sqrt), initial_state, marks)
        final_state = tuple(h[:, 0] for h in states)
    else:
        states, final_state = implementation(unit, initial_state, marks, exponent, reverse)
    return cast(states, dtype), cast(final_state, accumulated)


def _check(unit, initial_state, reset, mask, exponent):
    parts = {len(unit.inputs), len(initial_state or unit.inputs), 1 if unit.phase is None else 2}
    if len(parts) > 1:
        raise ValueError(
            "rg_lru: inputs and initial_state must be pairs (real, imaginary) with a phase, and tensors without. "
            f"Got inputs of {len(unit.inputs)}, initial_state of {len(initial_state or unit.inputs)}, and "
            f"{'no phase' if unit.phase is None else 'a phase'}."
        )
    if not 0 < exponent < math.inf:
        raise ValueError(f"rg_lru: exponent must be positive and finite. Got {exponent}.")
    named = {
        "input_gate_logits": unit.input_gate_logits,
        "recurrence_gate_logits": unit.recurrence_gate_logits,
        "decay_parameter": unit.decay_parameter,
        "phase": unit.phase,
    }
    for part in (*unit.inputs, *(initial_state or ())):
        check_floating("rg_lru", inputs=part)
    check_floating("rg_lru", **named)
    shape = tuple(unit.inputs[0].shape)
    if len(shape) != 3:
        raise ValueError(f"rg_lru: inputs must have shape (B, T, D). Got {shape}.")
    batch_size, length, width = shape
    sequence, channels = ("input_gate_logits", "recurrence_gate_logits"), ("decay_parameter", "phase")
    wanted = [
        *(("inputs", x, shape) for x in unit.inputs),
        *((name, named[name], shape) for name in sequence),
        *((name, named[name], (width,)) for name in channels),
        *(("initial_state", h, (batch_size, width)) for h in initial_state or ()),
    ]
    for name, tensor, expected in wanted:
        if tensor is not None and not shape_fits(tensor, expected):
            raise ValueError(
                f"rg_lru: {name} must have shape {expected} for inputs {shape}. Got {tuple(tensor.shape)}."
            )
    check_steps("rg_lru", (batch_size, length), reset=reset, mask=mask)
