"""The quasi-recurrent neural network."""

from typing import Any, NamedTuple, Unpack

import keras
from keras import ops

from keras_griffin.checks import COUNT, one_of
from keras_griffin.layers.base.weights import StateSpec, Weight
from keras_griffin.layers.projection import projected
from keras_griffin.layers.token_shift import taps_of
from keras_griffin.layers.units.projected_unit import ProjectedUnit, projections
from keras_griffin.ops.linear_scan import linear_scan
from keras_griffin.shapes import RecurrentOptions, State, Tensor

#: The gates of each kind of pooling.
GATES = {
    "f": ("forget_gate",),
    "fo": ("forget_gate", "output_gate"),
    "ifo": ("forget_gate", "output_gate", "input_gate"),
}


class QRNNState(NamedTuple):
    """The state of `QRNN`."""

    #: `(B, R)`, float32: c after the last step.
    cell: Tensor
    #: `(B, taps - 1, D)`, compute dtype: the newest inputs, oldest first, zeros where there were none.
    inputs: Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class QRNN(ProjectedUnit):
    """The quasi-recurrent neural network (QRNN): gates from a convolution, and a recurrence without weights.

        z_t = tanh(W_z * x)_t                             candidate
        f_t, o_t, i_t = sigmoid(W * x)_t, each its own    gates; * is a causal convolution of all channels
        "f":    h_t = f_t * h_{t-1} + (1 - f_t) * z_t
        "fo":   c_t = f_t * c_{t-1} + (1 - f_t) * z_t,    h_t = o_t * c_t
        "ifo":  c_t = f_t * c_{t-1} + i_t * z_t,          h_t = o_t * c_t

    Args:
        units: R, the width of the outputs; None for the width of the inputs.
        taps: the steps that the convolution sees, the current one among them.
        pooling: `"f"`, `"fo"` or `"ifo"`.
        **kwargs: `return_sequences`, `return_state`, `go_backwards`, `stateful` and others; see `RecurrentUnit`.

    State: `QRNNState`, c and the inputs of the earlier taps.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.layers.QRNN(32)(np.ones((2, 10, 8), "float32")).shape)
        (2, 32)

    Reference: Bradbury et al. 2016 (arXiv 1611.01576), section 2; without zoneout. The gate F of its authors' code is
    1 - f of the paper.
    """

    state_type = QRNNState
    repeats_outputs = False

    def __init__(
        self, units: int | None = None, *, taps: int = 2, pooling: str = "fo", **kwargs: Unpack[RecurrentOptions]
    ):
        super().__init__(units, **kwargs)
        self.taps = self.checked(COUNT, taps=taps)
        self.pooling = self.checked(one_of(GATES), pooling=pooling)

    @classmethod
    def weights_of(cls, width: int, **arguments: Any) -> dict[str, Weight]:
        """A projection of all taps' inputs, oldest first, for the candidate and for each gate."""
        given = cls.with_defaults(arguments)
        return projections(("candidate", *GATES[given.pooling]), given.taps * width, given.units or width)

    @classmethod
    def state_of(cls, width: int, tokens: int, **arguments: Any) -> dict[str, StateSpec]:
        given = cls.with_defaults(arguments)
        return {"cell": StateSpec((given.units or width,), "float32"), "inputs": StateSpec((given.taps - 1, width))}

    @classmethod
    def reach_of(cls, **arguments: Any) -> int:
        return cls.with_defaults(arguments).taps - 1

    def build_weights(self, width: int) -> None:
        """Create the projections as one attribute, as files have them."""
        self.projections = [layer for _, layer in self.create_weights(width)]

    def scan(self, inputs: Tensor, state: State, reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        taps, newest = taps_of(inputs, state.inputs, reset, mask)
        seen = ops.concatenate(taps, axis=-1)
        candidate, forget, *others = projected(seen, *self.projections)
        enter = ops.sigmoid(others[1]) if self.pooling == "ifo" else ops.sigmoid(-forget)
        entering = enter * ops.tanh(candidate)
        cells, cell = linear_scan(ops.sigmoid(forget), entering, state.cell, reset=reset, mask=mask)
        outputs = cells if self.pooling == "f" else ops.sigmoid(others[0]) * cells
        return outputs, QRNNState(cell, newest)
