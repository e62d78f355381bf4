"""The minimal LSTM."""

from typing import Any, Unpack

import keras
from keras import ops

from keras_griffin.checks import COUNT, checked
from keras_griffin.layers.declared import Weight, dense_weights
from keras_griffin.layers.projection import project, projection
from keras_griffin.layers.units.recurrent_unit import RecurrentUnit, RecurrentUnitState
from keras_griffin.ops.linear_scan import linear_scan
from keras_griffin.shapes import LayerOptions, State, Tensor

PROJECTIONS = ("forget_gate", "input_gate", "candidate")


@keras.saving.register_keras_serializable("keras_griffin")
class MinLSTM(RecurrentUnit):
    """The minimal LSTM (minLSTM): an LSTM whose gates do not see its state, and sum to one.

        f_t = sigmoid(W_f x_t + b_f),  i_t = sigmoid(W_i x_t + b_i)       gates
        h_t = f_t / (f_t + i_t) * h_{t-1} + i_t / (f_t + i_t) * (W_h x_t + b_h)

    The ratios are the sigmoids of a difference of logarithms, so they are exact where both gates are almost zero. It
    follows the conventions of `keras.layers.LSTM`, and differs from it as `RGLRU` does, but has `units`.

    Args:
        units: R, the width of the outputs; None for that of the inputs.
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
        >>> tuple(keras_griffin.layers.MinLSTM(32)(np.ones((2, 10, 8), "float32")).shape)
        (2, 32)

    Reference: Feng et al. 2024 (arXiv 2410.01201), section 3.2.
    """

    def __init__(
        self,
        units: int | None = None,
        *,
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
        self.units = checked(type(self).__name__, COUNT.or_none(), units=units)

    @classmethod
    def weights_of(cls, width: int, *, units: int | None = None, **others: Any) -> dict[str, Weight]:
        """Three projections."""
        weights: dict[str, Weight] = {}
        for name in PROJECTIONS:
            weights |= dense_weights(name, width, units or width, 1, ("units", units or width))
        return weights

    def build_weights(self, width: int) -> None:
        """Create the projections."""
        self.projections = [projection(self.units or width, name=name, dtype=self.dtype_policy) for name in PROJECTIONS]
        for layer in self.projections:
            layer.build((None, width))

    def scan(self, inputs: Tensor, state: State, reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        """The equations."""
        forget, enter, candidate = (ops.cast(project(layer, inputs), "float32") for layer in self.projections)
        # The logarithm of a sigmoid is -softplus of the negated logit.
        difference = ops.softplus(-enter) - ops.softplus(-forget)
        entering = ops.sigmoid(-difference) * candidate
        states, hidden = linear_scan(ops.sigmoid(difference), entering, state.hidden, reset=reset, mask=mask)
        return states, RecurrentUnitState(hidden)
