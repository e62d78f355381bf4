"""The gated impulse linear recurrent unit."""

from typing import Any, Unpack

import keras
from keras import ops

from keras_griffin.checks import COUNT, checked, one_of
from keras_griffin.layers.declared import Weight, dense_weights
from keras_griffin.layers.projection import project, projection
from keras_griffin.layers.units.recurrent_unit import RecurrentUnit, RecurrentUnitState
from keras_griffin.ops.linear_scan import linear_scan
from keras_griffin.shapes import LayerOptions, State, Tensor

ACTIVATIONS = {"tanh": ops.tanh, "elu": ops.elu, "linear": lambda x: x}


@keras.saving.register_keras_serializable("keras_griffin")
class GILR(RecurrentUnit):
    """The gated impulse linear recurrence (GILR), a gated average of the inputs.

        g_t = sigmoid(U x_t + b_g)                        forget gate
        i_t = tau(V x_t + b_z)                            impulse
        h_t = g_t * h_{t-1} + (1 - g_t) * i_t             output

    It follows the conventions of `keras.layers.LSTM`, and differs from it as `RGLRU` does, but has `units`.

    Args:
        units: R, the width of the outputs; None for that of the inputs.
        activation: tau: `"tanh"`, the paper's; `"elu"`, its authors' code's; or `"linear"`.
        return_sequences: as for `RGLRU`, like `return_state`, `go_backwards` and `stateful`.
        return_state: see `return_sequences`.
        go_backwards: see `return_sequences`.
        stateful: see `return_sequences`.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    Call arguments: as for `RGLRU`.

    State: `RecurrentUnitState`, h as `(B, R)` float32.

    Input shape: `(B, T, D)`.

    Output shape: `(B, R)`; `(B, T, R)` with `return_sequences`.

    Raises:
        ValueError: an argument belongs to an LSTM, or has a wrong type or value.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.layers.GILR(32)(np.ones((2, 10, 8), "float32")).shape)
        (2, 32)

    Reference: Martin and Cundy 2017 (arXiv 1709.04057), section 3.1.
    """

    def __init__(
        self,
        units: int | None = None,
        *,
        activation: str = "tanh",
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            **kwargs,
        )
        name = type(self).__name__
        self.units = checked(name, COUNT.or_none(), units=units)
        self.activation = checked(name, one_of(ACTIVATIONS), activation=activation)

    @classmethod
    def weights_of(cls, width: int, *, units: int | None = None, **others: Any) -> dict[str, Weight]:
        """Two projections."""
        outputs = units or width
        return {
            **dense_weights("forget_gate", width, outputs, 1, ("units", outputs)),
            **dense_weights("impulse", width, outputs, 1, ("units", outputs)),
        }

    def build_weights(self, width: int) -> None:
        """Create the two projections."""
        self.forget_gate = projection(self.units or width, name="forget_gate", dtype=self.dtype_policy)
        self.impulse = projection(self.units or width, name="impulse", dtype=self.dtype_policy)
        for layer in (self.forget_gate, self.impulse):
            layer.build((None, width))

    def scan(self, inputs: Tensor, state: State, reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        """The equations."""
        gate, impulse = (ops.cast(project(layer, inputs), "float32") for layer in (self.forget_gate, self.impulse))
        entering = ops.sigmoid(-gate) * ACTIVATIONS[self.activation](impulse)
        states, hidden = linear_scan(ops.sigmoid(gate), entering, state.hidden, reset=reset, mask=mask)
        return states, RecurrentUnitState(hidden)
