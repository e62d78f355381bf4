"""The minimal GRU."""

from typing import Unpack

import keras
from keras import ops

from keras_griffin.checks import one_of
from keras_griffin.layers.projection import projected
from keras_griffin.layers.units.projected_unit import ProjectedUnit
from keras_griffin.layers.units.recurrent_unit import RecurrentUnitState
from keras_griffin.ops.linear_scan import linear_scan
from keras_griffin.shapes import RecurrentOptions, State, Tensor

ACTIVATIONS = {
    "linear": lambda x: x,
    # Both branches are finite everywhere, and so are their gradients.
    "positive": lambda x: ops.where(x >= 0, x + 0.5, ops.sigmoid(x)),
}


@keras.saving.register_keras_serializable("keras_griffin")
class MinGRU(ProjectedUnit):
    """The minimal GRU (minGRU): a GRU whose gate does not see its state.

        z_t = sigmoid(W_z x_t + b_z)                              update gate
        h_t = (1 - z_t) * h_{t-1} + z_t * g(W_h x_t + b_h)        output

    Args:
        units: R, the width of the outputs; None for the width of the inputs.
        activation: g: `"linear"`; or `"positive"`, x + 1/2 for x >= 0 and sigmoid(x) below, as in the authors' version
            in logarithms.
        **kwargs: `return_sequences`, `return_state`, `go_backwards`, `stateful` and others; see `RecurrentUnit`.

    State: `RecurrentUnitState`, h as `(B, R)` float32.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.layers.MinGRU(32)(np.ones((2, 10, 8), "float32")).shape)
        (2, 32)

    Reference: Feng et al. 2024 (arXiv 2410.01201), section 3.1; appendix B for `"positive"`.
    """

    projections_of_inputs = ("update_gate", "candidate")

    def __init__(self, units: int | None = None, *, activation: str = "linear", **kwargs: Unpack[RecurrentOptions]):
        super().__init__(units, **kwargs)
        self.activation = self.checked(one_of(ACTIVATIONS), activation=activation)

    def scan(self, inputs: Tensor, state: State, reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        gate, candidate = projected(inputs, self.update_gate, self.candidate)
        entering = ops.sigmoid(gate) * ACTIVATIONS[self.activation](candidate)
        states, hidden = linear_scan(ops.sigmoid(-gate), entering, state.hidden, reset=reset, mask=mask)
        return states, RecurrentUnitState(hidden)
