"""The gated impulse linear recurrent unit."""

from typing import Unpack

import keras
from keras import ops

from keras_griffin.checks import one_of
from keras_griffin.layers.projection import projected
from keras_griffin.layers.units.projected_unit import ProjectedUnit
from keras_griffin.layers.units.recurrent_unit import RecurrentUnitState
from keras_griffin.ops.linear_scan import linear_scan
from keras_griffin.shapes import RecurrentOptions, State, Tensor

ACTIVATIONS = {"tanh": ops.tanh, "elu": ops.elu, "linear": lambda x: x}


@keras.saving.register_keras_serializable("keras_griffin")
class GILR(ProjectedUnit):
    """The gated impulse linear recurrence (GILR), a gated average of the inputs.

        g_t = sigmoid(U x_t + b_g)                        forget gate
        i_t = tau(V x_t + b_z)                            impulse
        h_t = g_t * h_{t-1} + (1 - g_t) * i_t             output

    Args:
        units: R, the width of the outputs; None for the width of the inputs.
        activation: tau: `"tanh"`, the paper's; `"elu"`, its authors' code's; or `"linear"`.
        **kwargs: `return_sequences`, `return_state`, `go_backwards`, `stateful` and others; see `RecurrentUnit`.

    State: `RecurrentUnitState`, h as `(B, R)` float32.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.layers.GILR(32)(np.ones((2, 10, 8), "float32")).shape)
        (2, 32)

    Reference: Martin and Cundy 2017 (arXiv 1709.04057), section 3.1.
    """

    projections_of_inputs = ("forget_gate", "impulse")

    def __init__(self, units: int | None = None, *, activation: str = "tanh", **kwargs: Unpack[RecurrentOptions]):
        super().__init__(units, **kwargs)
        self.activation = self.checked(one_of(ACTIVATIONS), activation=activation)

    def scan(self, inputs: Tensor, state: State, reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        gate, impulse = projected(inputs, self.forget_gate, self.impulse)
        entering = ops.sigmoid(-gate) * ACTIVATIONS[self.activation](impulse)
        states, hidden = linear_scan(ops.sigmoid(gate), entering, state.hidden, reset=reset, mask=mask)
        return states, RecurrentUnitState(hidden)
