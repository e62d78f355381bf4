"""The gated updates of equation 7 as a recurrent unit, to stand in a `RecurrentBlock` in place of the RG-LRU."""

from collections.abc import Callable
from typing import Any, Unpack

import keras
from keras import ops

from experiments.models.variants import Update, gru, mamba
from keras_griffin.checks import COUNT, checked, one_of
from keras_griffin.layers import UNITS, RecurrentUnit, RecurrentUnitState, Weight
from keras_griffin.layers.initializers.decay_initializer import DECAY_RANGE, DecayInitializer
from keras_griffin.layers.units.rg_lru import default_num_gate_blocks
from keras_griffin.ops import linear_scan
from keras_griffin.shapes import RecurrentOptions, State, Tensor

UPDATES = ("gru", "mamba")
#: Its name among the library's units once it is registered.
UNIT = "gated_unit"
#: Where a gate is 1, Mamba's (1 - r)^a has no derivative.
MOST_OPEN = 1 - 1e-6


@keras.saving.register_keras_serializable("experiments")
class GatedUnit(RecurrentUnit):
    """A `GatedUpdate` with a state, and with the block-diagonal gate and the first decays of an RG-LRU.

        r_t = sigmoid(W x_t - Lambda)
        h_t = alpha(r_t) * h_{t-1} + beta(r_t) * x_t                    (7)

    There is no other gate on the input. For x = 0 the first decays are sigmoid(Lambda), uniform on a range, whatever
    the update: Mamba's a is a weight for each channel that starts at 1, where Mamba's update is the GRU's.

    Args:
        update: `"gru"` or `"mamba"`.
        num_gate_blocks: blocks of W; None for the default of `RGLRU`.
        decay_range: the range of the first decays.
        **kwargs: as for `RecurrentUnit`.

    Call arguments: as for `RGLRU`.

    State: `RecurrentUnitState`, h as `(B, R)` float32.

    Input shape: `(B, T, R)`.

    Output shape: `(B, R)`; `(B, T, R)` with `return_sequences`.

    Raises:
        ValueError: an argument has a wrong type or value.
    """

    decays = False

    def __init__(
        self,
        *,
        update: str = "gru",
        num_gate_blocks: int | None = None,
        decay_range: tuple[float, float] = (0.9, 0.999),
        **kwargs: Unpack[RecurrentOptions],
    ):
        super().__init__(**kwargs)
        name = type(self).__name__
        self.update = checked(name, one_of(UPDATES), update=update)
        self.num_gate_blocks = checked(name, COUNT.or_none(), num_gate_blocks=num_gate_blocks)
        self.decay_range = tuple(checked(name, DECAY_RANGE, decay_range=decay_range))

    @classmethod
    def weights_of(
        cls, width: int, *, update: str = "gru", num_gate_blocks: int | None = None, **others: Any
    ) -> dict[str, Weight]:
        """The gate's blocks, Lambda, and Mamba's a."""
        blocks = num_gate_blocks or default_num_gate_blocks(width)
        vectors = ("decay_parameter", *(("log_exponent",) if update == "mamba" else ()))
        return {
            "recurrence_gate/blocks/kernel": Weight((blocks, width // blocks, width // blocks), layer="blocks"),
            **{name: Weight((width,)) for name in vectors},
        }

    def initializers(self) -> dict[str, Callable]:
        """Those of Lambda, and of the logarithm of Mamba's a."""
        first = DecayInitializer("paper", self.decay_range, exponent=1.0)
        return {"decay_parameter": first, "log_exponent": keras.initializers.Zeros()}

    def scan(self, inputs: Tensor, state: State, reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        """The equations."""
        gate, update = self._gate(inputs), self._update()
        entering = update.beta(gate) * ops.cast(inputs, "float32")
        states, hidden = linear_scan(update.alpha(gate), entering, state.hidden, reset=reset, mask=mask)
        return states, RecurrentUnitState(hidden)

    def trace_of(self, inputs: Tensor, outputs: Tensor) -> dict[str, Tensor]:
        """The gate, ln alpha, and h_t."""
        gate = self._gate(inputs)
        return {
            "recurrence_gate": gate,
            "log_decay": ops.log(self._update().alpha(gate)),
            "state": ops.cast(outputs, "float32"),
        }

    def _gate(self, inputs) -> Tensor:
        logits = ops.cast(self.recurrence_gate(inputs), "float32") - ops.cast(self.decay_parameter, "float32")
        return ops.minimum(ops.sigmoid(logits), MOST_OPEN)

    def _update(self) -> Update:
        return gru() if self.update == "gru" else mamba(ops.exp(ops.cast(self.log_exponent, "float32")))


def register() -> None:
    """Give the unit its name among the library's.

    Neither importing this file nor another variant does, since tools and tests of the library go through that table.
    """
    UNITS[UNIT] = GatedUnit
