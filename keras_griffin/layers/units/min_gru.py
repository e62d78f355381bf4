"""The minimal GRU."""

from typing import Any, Unpack

import keras
from keras import ops

from keras_griffin.checks import COUNT, checked, one_of
from keras_griffin.layers.declared import Weight, dense_weights
from keras_griffin.layers.projection import project, projection
from keras_griffin.layers.units.recurrent_unit import RecurrentUnit, RecurrentUnitState
from keras_griffin.ops.linear_scan import linear_scan
from keras_griffin.shapes import LayerOptions, State, Tensor

ACTIVATIONS = {
    "linear": lambda x: x,
    # Both branches are finite everywhere, and so are their gradients.
    "positive": lambda x: ops.where(x >= 0, x + 0.5, ops.sigmoid(x)),
}


@keras.saving.register_keras_serializable("keras_griffin")
class MinGRU(RecurrentUnit):
    """The minimal GRU (minGRU): a GRU whose gate does not see its state.

        z_t = sigmoid(W_z x_t + b_z)                              update gate
        h_t = (1 - z_t) * h_{t-1} + z_t * g(W_h x_t + b_h)        output

    It follows the conventions of `keras.layers.LSTM`, and differs from it as `RGLRU` does, but has `units`.

    Args:
        units: R, the width of the outputs; None for that of the inputs.
        activation: g: `"linear"`; or `"positive"`, x + 1/2 for x >= 0 and sigmoid(x) below, as in the authors' version
            in logarithms.
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
        >>> tuple(keras_griffin.layers.MinGRU(32)(np.ones((2, 10, 8), "float32")).shape)
        (2, 32)

    Reference: Feng et al. 2024 (arXiv 2410.01201), section 3.1; appendix B for `"positive"`.
    """

    def __init__(
        self,
        units: int | None = None,
        *,
        activation: str = "linear",
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
            **dense_weights("update_gate", width, outputs, 1, ("units", outputs)),
            **dense_weights("candidate", width, outputs, 1, ("units", outputs)),
        }

    def build_weights(self, width: int) -> None:
        """Create the two projections."""
        self.update_gate = projection(self.units or width, name="update_gate", dtype=self.dtype_policy)
        self.candidate = projection(self.units or width, name="candidate", dtype=self.dtype_policy)
        for layer in (self.update_gate, self.candidate):
            layer.build((None, width))

    def scan(self, inputs: Tensor, state: State, reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        """The equations."""
        gate, candidate = (ops.cast(project(layer, inputs), "float32") for layer in (self.update_gate, self.candidate))
        entering = ops.sigmoid(gate) * ACTIVATIONS[self.activation](candidate)
        states, hidden = linear_scan(ops.sigmoid(-gate), entering, state.hidden, reset=reset, mask=mask)
        return states, RecurrentUnitState(hidden)
