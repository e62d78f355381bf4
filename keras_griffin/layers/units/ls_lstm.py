"""The linear surrogate LSTM."""

from typing import Any, NamedTuple, Unpack

import keras
from keras import ops

from keras_griffin.checks import COUNT, FLAG, checked
from keras_griffin.layers.declared import Kept, Weight, dense_weights
from keras_griffin.layers.projection import project, projection
from keras_griffin.layers.token_shift import states_before
from keras_griffin.layers.units.gilr import GILR
from keras_griffin.layers.units.recurrent_unit import RecurrentUnit, RecurrentUnitState
from keras_griffin.ops.linear_scan import linear_scan
from keras_griffin.shapes import LayerOptions, State, Tensor

GATES = ("forget_gate", "input_gate", "output_gate", "candidate")


class LSLSTMState(NamedTuple):
    """The state of `LSLSTM`."""

    #: `(B, R)`, float32: s after the last step.
    surrogate: Tensor
    #: `(B, R)`, float32: c after the last step.
    cell: Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class LSLSTM(RecurrentUnit):
    """The linear surrogate LSTM (LS-LSTM): an LSTM whose gates see a linear recurrence in place of its own output.

        s_t = GILR(x)_t                                                     surrogate
        f_t, i_t, o_t = sigmoid(U s_{t-1} + V x_t + b), each its own        gates
        z_t = tanh(U_z s_{t-1} + V_z x_t + b_z)                             candidate
        c_t = f_t * c_{t-1} + i_t * z_t                                     cell
        h_t = o_t * c_t                                                     output

    So all steps run at once, in two scans. It follows the conventions of `keras.layers.LSTM`, and differs from it as
    `RGLRU` does, but has `units`; its state is s and c.

    Args:
        units: R, the width of the outputs; None for that of the inputs.
        shift: whether the gates see s_{t-1}, as in the paper; if not, s_t, as in its authors' code.
        return_sequences: as for `RGLRU`, like `return_state`, `go_backwards` and `stateful`.
        return_state: see `return_sequences`.
        go_backwards: see `return_sequences`.
        stateful: see `return_sequences`.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    Call arguments: as for `RGLRU`.

    State: `LSLSTMState`.

    Input shape: `(B, T, D)`.

    Output shape: `(B, R)`; `(B, T, R)` with `return_sequences`.

    Raises:
        ValueError: an argument belongs to an LSTM, or has a wrong type or value.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.layers.LSLSTM(32)(np.ones((2, 10, 8), "float32")).shape)
        (2, 32)

    Reference: Martin and Cundy 2017 (arXiv 1709.04057), section 3.2.
    """

    state_type = LSLSTMState
    repeats_outputs = False

    def __init__(
        self,
        units: int | None = None,
        *,
        shift: bool = True,
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
        self.shift = checked(name, FLAG, shift=shift)

    @classmethod
    def weights_of(cls, width: int, *, units: int | None = None, **others: Any) -> dict[str, Weight]:
        """The surrogate's weights; for each gate a projection of s and one of x, which has the bias."""
        outputs = units or width
        groups = ("units", outputs)
        of_surrogate = GILR.weights_of(width, units=units)
        weights = {f"surrogate/{path}": weight for path, weight in of_surrogate.items()}
        for gate in GATES:
            weights |= dense_weights(f"{gate}_of_surrogate", outputs, outputs, 1, groups, bias=False)
            weights |= dense_weights(f"{gate}_of_input", width, outputs, 1, groups)
        return weights

    @classmethod
    def kept_of(cls, width: int, tokens: int, *, units: int | None = None, **others: Any) -> dict[str, Kept]:
        """s and c."""
        return {name: Kept((units or width,), "float32") for name in ("surrogate", "cell")}

    @classmethod
    def reach_of(cls, *, shift: bool = True, **others: Any) -> int | None:
        """With `shift` it moves s along time without an op that could be divided."""
        return None if shift else 0

    def build_weights(self, width: int) -> None:
        """Create the surrogate and the gates' projections."""
        outputs = self.units or width
        self.surrogate = GILR(self.units, return_sequences=True, name="surrogate", dtype=self.dtype_policy)
        self.surrogate.build((None, None, width))
        self.of_surrogate, self.of_input = [], []
        for gate in GATES:
            names = {"use_bias": False, "name": f"{gate}_of_surrogate"}, {"name": f"{gate}_of_input"}
            seen, given = (projection(outputs, dtype=self.dtype_policy, **options) for options in names)
            seen.build((None, outputs))
            given.build((None, width))
            self.of_surrogate.append(seen)
            self.of_input.append(given)

    def scan(self, inputs: Tensor, state: State, reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        """The equations."""
        surrogate, last = self.surrogate.advance(inputs, RecurrentUnitState(state.surrogate), reset=reset, mask=mask)
        seen = states_before(surrogate, state.surrogate, reset) if self.shift else surrogate
        forget, enter, output, candidate = (
            ops.cast(project(of_surrogate, seen) + project(of_input, inputs), "float32")
            for of_surrogate, of_input in zip(self.of_surrogate, self.of_input, strict=True)
        )
        entering = ops.sigmoid(enter) * ops.tanh(candidate)
        cells, cell = linear_scan(ops.sigmoid(forget), entering, state.cell, reset=reset, mask=mask)
        return ops.sigmoid(output) * cells, LSLSTMState(last.hidden, cell)
