"""h_t = exp(s_t A) h_{t-1} + s_t b_t u_t, y_t = c_t h_t: the contract, and the table of implementations.

An implementation is one file and one row below. Its function

    selective_scan(selection, initial_state, reset, mask) -> (outputs, final_state)

takes a `Selection` in its original dtypes, `(B, D, N)` in the accumulation dtype, and the user's marks. T is at least
2, and no size is 0 (unless it is known only when the model runs). The results may have the inputs' dtype or the
accumulation dtype. The decorator `on_hidden` handles the mask for an implementation that doesn't. `supports(facts)`
returns None, or why it can't serve such a call, in words that follow "It".

No implementation holds an array `(B, T, D, N)`, forward or backward.
"""

import keras
from keras import ops

from keras_griffin.ops.arguments import as_tensor, check_floating, check_steps, is_symbolic, shape_fits
from keras_griffin.ops.implementation import Implementation, Op
from keras_griffin.ops.selective_scan.hidden import on_hidden
from keras_griffin.ops.selective_scan.selection import Selection
from keras_griffin.ops.time_axis import divided_rule
from keras_griffin.shapes import Tensor

_OP = Op(
    "selective_scan",
    __name__,
    [
        Implementation("jax_pallas_tpu", backend="jax", automatic=("tpu",), interpreted=True),
        Implementation("jax_loop", backend="jax", automatic=("cpu", "tpu")),
        Implementation("jax_triton", backend="jax", automatic=("gpu",), interpreted=True),
        Implementation("torch_triton", backend="torch", automatic=("gpu",), interpreted=True),
        Implementation("torch_loop", backend="torch"),
        Implementation("tensorflow_loop", backend="tensorflow"),
        Implementation("numpy_loop", backend="numpy"),
        Implementation("portable"),
        Implementation("reference", automatic=(), needs_values=True),
    ],
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
        accumulation dtype. Differentiable, once, in all floating tensors.

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
    selection = Selection(*map(as_tensor, (inputs, step_sizes, rates, input_weights, output_weights)))
    initial_state, reset, mask = map(as_tensor, (initial_state, reset, mask))
    _check(selection, initial_state, reset, mask)
    rule = divided_rule("selective_scan")
    if is_symbolic(*selection, initial_state, reset, mask):
        return SelectiveScan()(*selection, initial_state, reset, mask)
    if rule is not None:
        return rule(selection, initial_state, reset, mask)
    return _run(selection, initial_state, reset, mask)


@keras.saving.register_keras_serializable("keras_griffin")
class SelectiveScan(keras.Operation):
    """`selective_scan` as a node of a functional model."""

    def call(self, inputs, step_sizes, rates, input_weights, output_weights, initial_state, reset, mask):
        """The values of concrete tensors."""
        selection = Selection(inputs, step_sizes, rates, input_weights, output_weights)
        return _run(selection, initial_state, reset, mask)

    def compute_output_spec(self, inputs, step_sizes, rates, input_weights, output_weights, initial_state, reset, mask):
        """The shapes and dtypes of outputs and final state."""
        final_state = keras.KerasTensor((inputs.shape[0], *rates.shape), _accumulation_dtype(inputs))
        return keras.KerasTensor(inputs.shape, inputs.dtype), final_state


def _run(selection, initial_state, reset, mask):
    inputs, rates = selection.inputs, selection.rates
    dtype, accumulated = keras.backend.standardize_dtype(inputs.dtype), _accumulation_dtype(inputs)
    tensors = [x for x in (*selection, initial_state) if x is not None]
    implementation = _OP.choose(tuple(inputs.shape), dtype, tensors)
    if initial_state is None:
        # The sum of no steps: zeros on the inputs' device, of a batch size that may be unknown.
        rows = ops.cast(ops.sum(inputs[:, :0], axis=1), accumulated)
        initial_state = rows[..., None] + ops.zeros(rates.shape, accumulated)
    initial_state = ops.convert_to_tensor(initial_state, accumulated)
    if 0 in inputs.shape:
        outputs, final_state = inputs, initial_state
    elif inputs.shape[1] == 1:
        outputs, final_state = one_step(selection, initial_state, reset, mask)
    else:
        outputs, final_state = implementation(selection, initial_state, reset, mask)
    return ops.convert_to_tensor(outputs, dtype), ops.convert_to_tensor(final_state, accumulated)


@on_hidden
def one_step(selection, initial_state, reset):
    """Outputs `(B, 1, D)` and final state of a sequence of one step: the equations."""
    inputs, sizes, rates, b, c = (ops.cast(x, initial_state.dtype) for x in selection)
    past = initial_state if reset is None else ops.where(reset[..., None], 0.0, initial_state)
    sizes = ops.swapaxes(sizes, 1, 2)
    state = ops.exp(sizes * rates) * past + sizes * ops.swapaxes(inputs, 1, 2) * b
    return ops.sum(c * state, axis=2)[:, None], state


def _accumulation_dtype(inputs):
    return "float64" if keras.backend.standardize_dtype(inputs.dtype) == "float64" else "float32"


def _check(selection, initial_state, reset, mask):
    named = {**selection._asdict(), "initial_state": initial_state}
    check_floating("selective_scan", **named)
    shape = tuple(selection.inputs.shape)
    if len(shape) != 3:
        raise ValueError(f"selective_scan: inputs must have shape (B, T, D). Got {shape}.")
    batch_size, length, width = shape
    rates_shape = tuple(selection.rates.shape)
    if len(rates_shape) != 2 or not rates_shape[1] or not shape_fits(selection.rates, (width, rates_shape[1])):
        raise ValueError(
            f"selective_scan: rates must have shape ({width}, N), N at least 1, for inputs {shape}. Got {rates_shape}."
        )
    numbers = rates_shape[1]
    wanted = {
        "step_sizes": shape,
        "input_weights": (batch_size, length, numbers),
        "output_weights": (batch_size, length, numbers),
        "initial_state": (batch_size, width, numbers),
    }
    for name, expected in wanted.items():
        if named[name] is not None and not shape_fits(named[name], expected):
            raise ValueError(
                f"selective_scan: {name} must have shape {expected} for inputs {shape} and rates {rates_shape}. "
                f"Got {tuple(named[name].shape)}."
            )
    check_steps("selective_scan", (batch_size, length), reset=reset, mask=mask)
