"""One step of the recurrence and of its gradient, for the loops of JAX and TensorFlow.

A state is `(B, N, D)` here: sums over N then add whole rows of channels.
"""

from keras import ops

from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs
from keras_griffin.shapes import Tensor


def advance(rates: Tensor, state: Tensor, step: SelectiveScanInputs, forgets: Tensor | None) -> Tensor:
    """The state after a step.

    Args:
        rates: A, `(N, D)`.
        state: h_{t-1}, `(B, N, D)`.
        step: u and s, `(B, D)`, and b and c, `(B, N)`.
        forgets: where the past is forgotten, `(B, 1, 1)`; None for nowhere.
    """
    entering = (step.step_sizes * step.inputs)[:, None] * step.input_weights[..., None]
    return ops.exp(step.step_sizes[:, None] * rates) * _zero_where(forgets, state) + entering


def output(state: Tensor, step: SelectiveScanInputs) -> Tensor:
    """y_t, `(B, D)`, of the state after a step."""
    return ops.sum(state * step.output_weights[..., None], axis=1)


def retreat(
    rates: Tensor,
    gradient: Tensor,
    before: Tensor,
    step: SelectiveScanInputs,
    forgets: Tensor | None,
    into_output: Tensor,
) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """The gradients of a step, from those for the state after it and for its output.

    Args:
        rates: as for `advance`, and so are `step` and `forgets`.
        gradient: for h_t, without y_t's part, `(B, N, D)`.
        before: h_{t-1}, `(B, N, D)`.
        step: see `rates`.
        forgets: see `rates`.
        into_output: for y_t, `(B, D)`.

    Returns:
        The gradients for h_{t-1}, for A for each row of the batch, and for u, s, b and c.
    """
    inputs, sizes, _, b, c = step
    decay, scaled, before = ops.exp(sizes[:, None] * rates), sizes * inputs, _zero_where(forgets, before)
    state = decay * before + scaled[:, None] * b[..., None]
    gradient = gradient + c[..., None] * into_output[:, None]
    into_entering = ops.sum(gradient * b[..., None], axis=1)
    into_power = decay * gradient * before
    into_sizes = ops.sum(into_power * rates, axis=1) + into_entering * inputs
    into_b, into_c = (ops.einsum("bnd,bd->bn", x, y) for x, y in ((gradient, scaled), (state, into_output)))
    into_step = into_entering * sizes, into_sizes, into_b, into_c
    return _zero_where(forgets, decay * gradient), into_power * sizes[:, None], into_step


def _zero_where(forgets, state):
    """Zero where the past is forgotten: a decay of 0 times NaN would be NaN."""
    return state if forgets is None else ops.where(forgets, 0.0, state)
