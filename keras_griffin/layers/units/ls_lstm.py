"""The linear surrogate LSTM."""

from typing import Any, NamedTuple, Unpack

import keras
from keras import ops

from keras_griffin.checks import FLAG
from keras_griffin.layers.base.weights import StateSpec, Weight, dense_weights, within
from keras_griffin.layers.projection import project
from keras_griffin.layers.token_shift import states_before
from keras_griffin.layers.units.gilr import GILR
from keras_griffin.layers.units.projected_unit import ProjectedUnit
from keras_griffin.layers.units.recurrent_unit import RecurrentUnitState
from keras_griffin.ops.linear_scan import linear_scan
from keras_griffin.shapes import RecurrentOptions, State, Tensor

GATES = ("forget_gate", "input_gate", "output_gate", "candidate")


class LSLSTMState(NamedTuple):
    """The state of `LSLSTM`."""

    #: `(B, R)`, float32: s after the last step.
    surrogate: Tensor
    #: `(B, R)`, float32: c after the last step.
    cell: Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class LSLSTM(ProjectedUnit):
    """The linear surrogate LSTM (LS-LSTM): an LSTM whose gates see a linear recurrence in place of its own output.

        s_t = GILR(x)_t                                                     surrogate
        f_t, i_t, o_t = sigmoid(U s_{t-1} + V x_t + b), each its own        gates
        z_t = tanh(U_z s_{t-1} + V_z x_t + b_z)                             candidate
        c_t = f_t * c_{t-1} + i_t * z_t                                     cell
        h_t = o_t * c_t                                                     output

    So all steps run at once, in two scans.

    Args:
        units: R, the width of the outputs; None for the width of the inputs.
        shift: whether the gates see s_{t-1}, as in the paper; if not, s_t, as in its authors' code.
        **kwargs: `return_sequences`, `return_state`, `go_backwards`, `stateful` and others; see `RecurrentUnit`.

    State: `LSLSTMState`, s and c.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.layers.LSLSTM(32)(np.ones((2, 10, 8), "float32")).shape)
        (2, 32)

    Reference: Martin and Cundy 2017 (arXiv 1709.04057), section 3.2.
    """

    state_type = LSLSTMState
    repeats_outputs = False

    def __init__(self, units: int | None = None, *, shift: bool = True, **kwargs: Unpack[RecurrentOptions]):
        super().__init__(units, **kwargs)
        self.shift = self.checked(FLAG, shift=shift)

    @classmethod
    def weights_of(cls, width: int, *, units: int | None = None, **others: Any) -> dict[str, Weight]:
        """The surrogate's weights; for each gate a projection of s and one of x, which has the bias."""
        outputs = units or width
        weights = within("surrogate", GILR.weights_of(width, units=units))
        for gate in GATES:
            weights |= dense_weights(f"{gate}_of_surrogate", outputs, outputs, bias=False)
            weights |= dense_weights(f"{gate}_of_input", width, outputs)
        return weights

    @classmethod
    def state_of(cls, width: int, tokens: int, *, units: int | None = None, **others: Any) -> dict[str, StateSpec]:
        return {name: StateSpec((units or width,), "float32") for name in ("surrogate", "cell")}

    def build_weights(self, width: int) -> None:
        """Create the surrogate, and the gates' projections as two attributes, as files have them."""
        self.surrogate = GILR(self.units, return_sequences=True, name="surrogate", dtype=self.dtype_policy)
        self.surrogate.build((None, None, width))
        parts = dict(self.create_weights(width))
        self.of_surrogate = [parts[f"{gate}_of_surrogate"] for gate in GATES]
        self.of_input = [parts[f"{gate}_of_input"] for gate in GATES]

    def scan(self, inputs: Tensor, state: State, reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        surrogate, last = self.surrogate.advance(inputs, RecurrentUnitState(state.surrogate), reset=reset, mask=mask)
        seen = states_before(surrogate, state.surrogate, reset) if self.shift else surrogate
        forget, enter, output, candidate = (
            ops.cast(project(of_surrogate, seen) + project(of_input, inputs), "float32")
            for of_surrogate, of_input in zip(self.of_surrogate, self.of_input, strict=True)
        )
        entering = ops.sigmoid(enter) * ops.tanh(candidate)
        cells, cell = linear_scan(ops.sigmoid(forget), entering, state.cell, reset=reset, mask=mask)
        return ops.sigmoid(output) * cells, LSLSTMState(last.hidden, cell)
