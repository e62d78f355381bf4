"""The complex-gated linear recurrent unit."""

import math
from collections.abc import Callable
from typing import Any, Unpack

import keras
from keras import ops

from keras_griffin.checks import NOT_NEGATIVE
from keras_griffin.layers.base.initialization import seeded_when_called
from keras_griffin.layers.base.weights import Weight
from keras_griffin.layers.units.recurrent_unit import RecurrentUnitState
from keras_griffin.layers.units.rg_lru import RGLRU, RGLRUOptions, default_num_gate_blocks, gate_weights
from keras_griffin.ops.rg_lru import rg_lru
from keras_griffin.shapes import State, Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class CGLRU(RGLRU):
    """The complex-gated linear recurrent unit (CG-LRU): an RG-LRU whose decays also rotate.

        x_t = [x1_t; x2_t],  xc_t = x1_t + i x2_t                       (8, 9)
        r_t = sigmoid(W_a x_t + b_a),  i_t = sigmoid(W_x x_t + b_x)     (10, 11)
        ac_t = sigmoid(Lambda)^(c r_t) * exp(i c r_t theta)             (12)
        hc_t = ac_t * hc_{t-1} + sqrt(1 - |ac_t|^2) * (i_t * xc_t)      (13)
        y_t = [Re hc_t; Im hc_t]                                        (14)

    The gates map all R channels to R / 2. A complex number is a pair of real ones throughout. The state is float32 and
    laid out like y; outputs are in the compute dtype. With theta = 0 it is an RG-LRU on each half, with shared gates.
    R must be even.

    Args:
        maximum_phase: the initial rotation of a step with an open gate, c * theta, is uniform from 0 to this (radians).
            The paper gives no rule for it; the default is the released code's.
        **kwargs: the arguments of `RGLRU`; the decay's options apply to its magnitude.

    State: `RecurrentUnitState`, [Re h; Im h] as `(B, R)` float32.

    Raises:
        ValueError: R is odd, or the blocks do not divide R / 2; or as for `RGLRU`.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.layers.CGLRU()(np.ones((2, 10, 32), "float32")).shape)
        (2, 32)

    Reference: De et al. 2024 (arXiv 2402.19427), appendix B, equations 8 to 14.
    """

    def __init__(self, *, maximum_phase: float = 0.1 * math.pi, **kwargs: Unpack[RGLRUOptions]):
        super().__init__(**kwargs)
        self.maximum_phase = self.checked(NOT_NEGATIVE, maximum_phase=maximum_phase)

    @classmethod
    def weights_of(cls, width: int, *, num_gate_blocks: int | None = None, **others: Any) -> dict[str, Weight]:
        weights = gate_weights(width, width // 2, num_gate_blocks)
        return {**weights, "phase": Weight((width // 2,), 0, cls.groups_of(width, num_gate_blocks=num_gate_blocks))}

    @classmethod
    def groups_of(cls, width: int, *, num_gate_blocks: int | None = None, **others: Any) -> tuple[str, int]:
        return "num_gate_blocks", num_gate_blocks or default_num_gate_blocks(width // 2)

    def initializers(self) -> dict[str, Callable]:
        high = self.maximum_phase / self.exponent
        return {**super().initializers(), "phase": seeded_when_called(keras.initializers.RandomUniform, 0.0, high)}

    def build_weights(self, width: int) -> None:
        if width % 2:
            raise ValueError(f"CGLRU: the inputs' width must be even. Got {width}.")
        super().build_weights(width)

    def scan(self, inputs: Tensor, state: State, reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        logits = self.input_gate(inputs), self.recurrence_gate(inputs)
        arguments = _halves(inputs), *logits, self.decay_parameter, _halves(state.hidden)
        states, hidden = rg_lru(*arguments, phase=self.phase, exponent=self.exponent, reset=reset, mask=mask)
        return ops.concatenate(states, -1), RecurrentUnitState(ops.concatenate(hidden, -1))

    def trace_of(self, inputs: Tensor, outputs: Tensor) -> dict[str, Tensor]:
        """As for `RGLRU`, with the magnitudes of decay and state."""
        real, imaginary = _halves(ops.cast(outputs, "float32"))
        return {**super().trace_of(inputs, outputs), "state": ops.sqrt(real**2 + imaginary**2)}


def _halves(joined):
    """The real and the imaginary half of the last axis."""
    return tuple(ops.split(joined, 2, axis=-1))
