"""h_t = a_t * h_{t-1} + x_t: the contract, and the table of implementations.

An implementation is one file and one row below. Its function

    linear_scan(decay, inputs, initial_state, marks, reverse) -> (states, final_state)

takes and returns numbers as tuples of components, `(real,)` or `(real, imaginary)`: decay and inputs `(B, T, D)` in
their original dtypes, T at least 2 and no size 0 (any sizes if they are known only when the model runs), and
initial_state `(B, D)` in the accumulation dtype, like final_state. States may have either dtype. The decorator
`on_effective` handles marks and dtypes for an implementation that doesn't. `supports(facts)` returns None, or why it
can't serve such a call, in words that follow "It".
"""

import keras
from keras import ops

from keras_griffin.ops.arguments import as_tensor, check_steps, is_symbolic, shape_fits
from keras_griffin.ops.implementation import Implementation, Op
from keras_griffin.ops.linear_scan.components import Components, add, multiply
from keras_griffin.ops.linear_scan.marks import Marks, effective, forgetting, marks_of_steps, unless
from keras_griffin.ops.linear_scan.numbers import Number, accumulation_dtype, cast, components_of, number_of
from keras_griffin.ops.time_axis import divided_rule
from keras_griffin.shapes import Tensor

_OP = Op(
    "linear_scan",
    __name__,
    [
        Implementation("jax_pallas_tpu", backend="jax", automatic=("tpu",), interpreted=True),
        Implementation("jax_loop", backend="jax", automatic=("cpu", "tpu")),
        Implementation("jax_triton", backend="jax", automatic=("gpu",), interpreted=True),
        Implementation("jax_associative", backend="jax", automatic=("gpu",)),
        Implementation("torch_triton", backend="torch", automatic=("gpu",), interpreted=True),
        Implementation("torch_loop", backend="torch"),
        Implementation("tensorflow_loop", backend="tensorflow"),
        Implementation("numpy_loop", backend="numpy"),
        Implementation("portable"),
        Implementation("reference", automatic=(), needs_values=True),
    ],
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
    decay, inputs, initial_state = components_of(decay), components_of(inputs), components_of(initial_state)
    reset, mask = as_tensor(reset), as_tensor(mask)
    _check(decay, inputs, initial_state, reset, mask)
    rule = divided_rule("linear_scan")
    if is_symbolic(*decay, *inputs, *(initial_state or ()), reset, mask):
        states, final_state = LinearScan(reverse)(decay, inputs, initial_state, reset, mask)
    elif rule is not None:
        states, final_state = rule(decay, inputs, initial_state, marks=(reset, mask), reverse=reverse)
    else:
        states, final_state = _scan(decay, inputs, initial_state, reset, mask, reverse)
    return number_of(states), number_of(final_state)


@keras.saving.register_keras_serializable("keras_griffin")
class LinearScan(keras.Operation):
    """`linear_scan` of components as a node of a functional model.

    Args:
        reverse: run from the last step to the first.
        name: the node's name.
    """

    def __init__(self, reverse: bool = False, *, name: str | None = None):
        super().__init__(name=name)
        self.reverse = reverse

    def call(self, decay, inputs, initial_state, reset, mask):
        """The values of concrete tensors."""
        return _scan(decay, inputs, initial_state, reset, mask, self.reverse)

    def compute_output_spec(self, decay, inputs, initial_state, reset, mask):
        """The shapes and dtypes of states and final state."""
        batch_size, _, width = inputs[0].shape
        accumulated = accumulation_dtype(inputs)
        states = tuple(keras.KerasTensor(x.shape, x.dtype) for x in inputs)
        return states, tuple(keras.KerasTensor((batch_size, width), accumulated) for _ in inputs)


def _scan(decay, inputs, initial_state, reset, mask, reverse):
    dtype, accumulated = keras.backend.standardize_dtype(inputs[0].dtype), accumulation_dtype(inputs)
    shape = tuple(inputs[0].shape)
    tensors = (*decay, *inputs, *(initial_state or ()))
    implementation = _OP.choose(shape, dtype, tensors)
    marks = marks_of_steps(reset, mask)
    # The sum of no steps: zeros on the inputs' device, of a batch size that may be unknown.
    initial_state = cast(initial_state or [ops.sum(x[:, :0], axis=1) for x in inputs], accumulated)
    if 0 in shape:
        states, final_state = inputs, initial_state
    elif shape[1] == 1:
        states = one_step(*effective(decay, inputs, marks, accumulated), initial_state, marks)
        final_state = tuple(h[:, 0] for h in states)
    else:
        states, final_state = implementation(decay, inputs, initial_state, marks, reverse)
    return cast(states, dtype), cast(final_state, accumulated)


def one_step(decay: Components, inputs: Components, initial_state: Components, marks: Marks) -> Components:
    """The states `(B, 1, D)` of a sequence of one step, from effective numbers `(B, 1, D)` and the state before it."""
    return add(multiply(decay, unless(forgetting(marks), tuple(h[:, None] for h in initial_state))), inputs)


def _check(decay, inputs, initial_state, reset, mask):
    numbers = {"decay": decay, "inputs": inputs}
    if initial_state is not None:
        numbers["initial_state"] = initial_state
    kinds = {len(components) for components in numbers.values()}
    if kinds not in ({1}, {2}):
        got = ", ".join(f"{name} of {len(components)}" for name, components in numbers.items())
        raise ValueError(
            "linear_scan: decay, inputs and initial_state must be all tensors or all pairs (real, imaginary). "
            f"Got {got}."
        )
    for name, components in numbers.items():
        dtypes = [keras.backend.standardize_dtype(component.dtype) for component in components]
        if not all(map(keras.backend.is_float_dtype, dtypes)):
            raise ValueError(f"linear_scan: {name} must have a real floating dtype. Got {' and '.join(dtypes)}.")

    shape = tuple(inputs[0].shape)
    if len(shape) != 3:
        raise ValueError(f"linear_scan: inputs must have shape (B, T, D). Got {shape}.")
    batch_size, length, width = shape
    for part in inputs[1:] + decay:
        if not shape_fits(part, shape):
            raise ValueError(
                "linear_scan: decay and inputs must have the same shape. "
                f"Got decay {_shapes(decay)} and inputs {_shapes(inputs)}."
            )
    for part in initial_state or ():
        if not shape_fits(part, (batch_size, width)):
            raise ValueError(
                f"linear_scan: initial_state must have shape {(batch_size, width)} for inputs {_shapes(inputs)}. "
                f"Got {_shapes(initial_state)}."
            )
    check_steps("linear_scan", (batch_size, length), reset=reset, mask=mask)


def _shapes(components):
    return " and ".join(str(tuple(component.shape)) for component in components)
