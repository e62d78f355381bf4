"""The minimal LSTM."""

import keras
from keras import ops

from keras_griffin.layers.projection import projected
from keras_griffin.layers.units.projected_unit import ProjectedUnit
from keras_griffin.layers.units.recurrent_unit import RecurrentUnitState
from keras_griffin.ops.linear_scan import linear_scan
from keras_griffin.shapes import State, Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class MinLSTM(ProjectedUnit):
    """The minimal LSTM (minLSTM): an LSTM whose gates do not see its state, and sum to one.

        f_t = sigmoid(W_f x_t + b_f),  i_t = sigmoid(W_i x_t + b_i)       gates
        h_t = f_t / (f_t + i_t) * h_{t-1} + i_t / (f_t + i_t) * (W_h x_t + b_h)

    The ratios are the sigmoids of a difference of logarithms, so they are exact where both gates are almost zero.

    Args:
        units: R, the width of the outputs; None for the width of the inputs.
        **kwargs: `return_sequences`, `return_state`, `go_backwards`, `stateful` and others; see `RecurrentUnit`.

    State: `RecurrentUnitState`, h as `(B, R)` float32.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.layers.MinLSTM(32)(np.ones((2, 10, 8), "float32")).shape)
        (2, 32)

    Reference: Feng et al. 2024 (arXiv 2410.01201), section 3.2.
    """

    projections_of_inputs = ("forget_gate", "input_gate", "candidate")

    def build_weights(self, width: int) -> None:
        """Create the projections as one attribute, as files have them."""
        self.projections = [layer for _, layer in self.create_weights(width)]

    def scan(self, inputs: Tensor, state: State, reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        forget, enter, candidate = projected(inputs, *self.projections)
        # The logarithm of a sigmoid is -softplus of the negated logit.
        difference = ops.softplus(-enter) - ops.softplus(-forget)
        entering = ops.sigmoid(-difference) * candidate
        states, hidden = linear_scan(ops.sigmoid(difference), entering, state.hidden, reset=reset, mask=mask)
        return states, RecurrentUnitState(hidden)
