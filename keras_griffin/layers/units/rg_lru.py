"""The real-gated linear recurrent unit."""

from collections.abc import Callable
from typing import Any, Unpack

import keras
from keras import ops

from keras_griffin.checks import COUNT, POSITIVE
from keras_griffin.layers.base.sequence_layer import Decays
from keras_griffin.layers.base.weights import Weight, block_weights
from keras_griffin.layers.initializers.decay_initializer import DECAY_INITIALIZER, DECAY_RANGE, DecayInitializer
from keras_griffin.layers.units.recurrent_unit import RecurrentUnit, RecurrentUnitState
from keras_griffin.ops.bounded_sqrt import SMALLEST_ROOT
from keras_griffin.ops.rg_lru import rg_lru
from keras_griffin.shapes import RecurrentOptions, State, Tensor

#: The paper's number of a gate's blocks, the most by default, and the fewest channels of each. Narrower blocks take as
#: long as their number: 16 blocks of 2 channels took 1.9 times the gradient of one block, and none was better.
MOST_GATE_BLOCKS, GATE_WIDTH = 16, 16


class RGLRUOptions(RecurrentOptions, total=False):
    """The options of `RGLRU`, for the units that are one."""

    num_gate_blocks: int | None
    exponent: float
    decay_range: tuple[float, float]
    decay_initializer: str


@keras.saving.register_keras_serializable("keras_griffin")
class RGLRU(RecurrentUnit):
    """The real-gated linear recurrent unit (RG-LRU), a gated recurrence that is linear in its state.

        r_t = sigmoid(W_a x_t + b_a)                               recurrence gate   (1)
        i_t = sigmoid(W_x x_t + b_x)                               input gate        (2)
        a_t = a^(c r_t),  a = sigmoid(Lambda)                      decay             (3)
        h_t = a_t * h_{t-1} + sqrt(1 - a_t^2) * (i_t * x_t)        output            (4)

    W_a and W_x are block-diagonal. The gates do not depend on h, so everything but the scan is parallel in time. The
    state and its computation are in float32; outputs are in the compute dtype. A reset sets a_t = 0, so that the state
    becomes the full input, i_t * x_t, without the past. The derivative of the square root is bounded by 1000.

    It follows the conventions of `keras.layers.LSTM` (see `RecurrentUnit`), but has no units: its output has the
    width of its input, so put `Dense(32)` before it for the units of `LSTM(32)`. The state is h alone, without c:
    `return_state` gives `[outputs, h]`, and `initial_state` takes h or `[h]`.

    Args:
        num_gate_blocks: blocks of W_a and of W_x; None for the largest number, at most 16, that divides the width into
            blocks of 16 channels or more, or 1 if there is none.
        exponent: c.
        decay_range: the range that the initial decays cover.
        decay_initializer: `"ring"` (a is in the range, the released code's rule) or `"paper"` (a^c is uniform on it).
        **kwargs: `return_sequences`, `return_state`, `go_backwards`, `stateful` and others; see `RecurrentUnit`.

    State: `RecurrentUnitState`, h as `(B, R)` float32.

    Raises:
        ValueError: the blocks do not divide the width; or as for `RecurrentUnit`.

    Examples:
        >>> import numpy as np, keras, keras_griffin
        >>> model = keras.Sequential([keras_griffin.layers.RGLRU(), keras.layers.Dense(1)])
        >>> tuple(model(np.ones((2, 10, 32), "float32")).shape)
        (2, 1)

    Reference: De et al. 2024 (arXiv 2402.19427), section 2.4, equations 1 to 4. Equation 6 there prints Lambda with the
    opposite sign.
    """

    decays = False

    def __init__(
        self,
        *,
        num_gate_blocks: int | None = None,
        exponent: float = 8.0,
        decay_range: tuple[float, float] = (0.9, 0.999),
        decay_initializer: str = "ring",
        **kwargs: Unpack[RecurrentOptions],
    ):
        super().__init__(**kwargs)
        self.num_gate_blocks = self.checked(COUNT.or_none(), num_gate_blocks=num_gate_blocks)
        self.exponent = self.checked(POSITIVE, exponent=exponent)
        self.decay_range = self.checked(DECAY_RANGE, decay_range=decay_range)
        self.decay_initializer = self.checked(DECAY_INITIALIZER, decay_initializer=decay_initializer)

    @classmethod
    def weights_of(cls, width: int, *, num_gate_blocks: int | None = None, **others: Any) -> dict[str, Weight]:
        return gate_weights(width, width, num_gate_blocks)

    @classmethod
    def groups_of(cls, width: int, *, num_gate_blocks: int | None = None, **others: Any) -> tuple[str, int]:
        return "num_gate_blocks", num_gate_blocks or default_num_gate_blocks(width)

    def initializers(self) -> dict[str, Callable]:
        return {"decay_parameter": DecayInitializer(self.decay_initializer, self.decay_range, self.exponent)}

    def scan(self, inputs: Tensor, state: State, reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        arguments = inputs, self.input_gate(inputs), self.recurrence_gate(inputs), self.decay_parameter, state.hidden
        outputs, hidden = rg_lru(*arguments, exponent=self.exponent, reset=reset, mask=mask)
        return outputs, RecurrentUnitState(hidden)

    def decays_of(self, inputs: Tensor) -> Decays:
        """Equation 3, or its magnitude in a complex unit; the root is from equation 4."""
        _, log_decay = self._gate_and_log_decay(inputs)
        below_one = ops.expm1(log_decay)
        root = ops.sqrt(-below_one * (2.0 + below_one))
        return Decays(below_one, root <= SMALLEST_ROOT)

    def trace_of(self, inputs: Tensor, outputs: Tensor) -> dict[str, Tensor]:
        """Equations 1 to 4: both gates, ln a_t, and h_t."""
        recurrence_gate, log_decay = self._gate_and_log_decay(inputs)
        input_gate = ops.sigmoid(ops.cast(self.input_gate(inputs), "float32"))
        gates = {"recurrence_gate": recurrence_gate, "input_gate": input_gate}
        return {**gates, "log_decay": log_decay, "state": ops.cast(outputs, "float32")}

    def _gate_and_log_decay(self, inputs):
        """r_t and ln a_t, in float32."""
        gate = ops.sigmoid(ops.cast(self.recurrence_gate(inputs), "float32"))
        return gate, -self.exponent * gate * ops.softplus(-ops.cast(self.decay_parameter, "float32"))


def default_num_gate_blocks(units: int) -> int:
    """The default number of the gates' blocks, which divide their outputs."""
    most = min(MOST_GATE_BLOCKS, units // GATE_WIDTH)
    return next((blocks for blocks in range(most, 1, -1) if units % blocks == 0), 1)


def gate_weights(width: int, units: int, num_gate_blocks: int | None) -> dict[str, Weight]:
    """The weights of the two gates from `width` to `units` channels, and of Lambda."""
    blocks = ("num_gate_blocks", num_gate_blocks or default_num_gate_blocks(units))
    return {
        **block_weights("recurrence_gate", width, units, blocks),
        **block_weights("input_gate", width, units, blocks),
        "decay_parameter": Weight((units,), 0, blocks),
    }
