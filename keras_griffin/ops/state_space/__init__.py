"""h_t = A h_{t-1} + b u_t, y_t = c h_t for each channel: the contract, and the table of implementations.

An implementation gets the inputs and a `System`, diagonal or dense; see `ScanOp`.
"""

from keras import ops

from keras_griffin.ops.implementation import Implementation
from keras_griffin.ops.recurrence.scan_op import ScanOp
from keras_griffin.ops.shared.arguments import as_tensor
from keras_griffin.ops.state_space.inputs import DenseSystem, DiagonalSystem
from keras_griffin.shapes import Tensor


def _one_step(inputs, system, initial_state, marks):
    """The equations."""
    dtype, (reset, mask) = initial_state.dtype, marks
    system = type(system)(*(ops.cast(x, dtype) for x in system))
    inputs = ops.swapaxes(ops.cast(inputs, dtype), 1, 2)
    inputs = inputs if mask is None else ops.where(mask, inputs, 0.0)
    past = initial_state if reset is None else ops.where(reset, 0.0, initial_state)
    state = system.carried(past, ops.ones((1, 1), "int32"), 2) + inputs * system.input_weights
    outputs = ops.expand_dims(ops.sum(system.output_weights * state, axis=2), 1)
    if mask is None:
        return outputs, state
    return ops.where(mask, outputs, 0.0), ops.where(mask, state, initial_state)


def _pack(inputs, input_weights, output_weights, rates, transition):
    """The tensors of an implementation."""
    system = DiagonalSystem if transition is None else DenseSystem
    return inputs, system(input_weights, output_weights, rates if transition is None else transition)


SCAN = ScanOp(
    "state_space",
    __name__,
    "inputs btd, input_weights dn, output_weights dn, rates? dn, transition? dnn | bdn -> inputs",
    [
        Implementation("portable"),
        Implementation("torch_exported", backend="torch", exported=True),
        # It serves float64 on NumPy.
        Implementation("reference", automatic=("cpu",), needs_values=True),
    ],
    one_step=_one_step,
    node="StateSpace",
    pack=_pack,
)


def state_space(
    inputs: Tensor,
    transition: Tensor,
    input_weights: Tensor,
    output_weights: Tensor,
    initial_state: Tensor | None = None,
    *,
    reset: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run a linear, time-invariant state space of N real numbers in each channel along time.

        h_t[d] = A[d] h_{t-1}[d] + b[d] u_t[d]        t = 1 .. T
        y_t[d] = sum_n c[d, n] h_t[d, n]

    A is a matrix for each channel; or diagonal, of N / 2 complex numbers exp(a_n + i a_{n + N/2}). Then a complex
    state s is h = [Re s; Im s] and a complex b is [Re b; Im b]; c = [Re c; -Im c] gives Re(c s), and twice that
    2 Re(c s), where one of each conjugate pair is kept.

    Chunks of 64 steps are products with the kernel c A^i b, and only the states between them are in memory: time and
    memory are linear in T, and there is no Fourier transform.

    Args:
        inputs: u, `(B, T, D)` float; any size may be 0.
        transition: A, `(D, N, N)` float; or a, `(D, N)` float, [log |A|; the angle of A in radians], for an even N.
        input_weights: b, `(D, N)` float.
        output_weights: c, `(D, N)` float.
        initial_state: h_0, `(B, D, N)` float; None for zeros.
        reset: `(B, T)` bool; the state is set to zero before a True step: values before the step affect no output from
            it on, and gradients from it on do not reach back, even where they are not finite. None for all False.
        mask: `(B, T)` bool; a False step leaves the state unchanged and outputs zeros: inputs and reset are ignored
            there. None for all True.

    Returns:
        (outputs, final_state): every y_t, `(B, T, D)` in the dtype of `inputs`, and h_T, `(B, D, N)` in the
        accumulation dtype. Differentiable in all floating tensors.

    Precision: accumulates in float32 (float64 for float64 `inputs`) and rounds `outputs` once. Powers of A up to 64
        come from its logarithm, those of a matrix by squaring, less the identity.

    Raises:
        ValueError: the shapes do not fit, a dtype is not floating, or `reset` or `mask` is not boolean.

    References: Gu et al. 2021 (arXiv 2111.00396), section 2; the chunks as in Dao and Gu 2024 (arXiv 2405.21060),
    section 6.

    Examples:
        >>> import keras
        >>> from keras_griffin.ops import state_space
        >>> u, weights = keras.ops.ones((1, 6, 4)), keras.ops.ones((4, 2))
        >>> outputs, state = state_space(u, -0.1 * weights, weights, weights)
        >>> tuple(outputs.shape), tuple(state.shape)
        ((1, 6, 4), (1, 4, 2))
    """
    transition = as_tensor(transition)
    shape = None if transition is None else tuple(transition.shape)
    if shape is None or len(shape) not in (2, 3) or (len(shape) == 2 and shape[1] % 2):
        raise ValueError(f"state_space: transition must have shape (D, N), with an even N, or (D, N, N). Got {shape}.")
    systems = (transition, None) if len(shape) == 2 else (None, transition)
    return SCAN(inputs, input_weights, output_weights, *systems, initial_state=initial_state, reset=reset, mask=mask)
