"""The structured state space layer."""

from typing import Any, NamedTuple, Unpack

import keras
import numpy as np
from keras import ops

from keras_griffin.layers.base.weights import Weight
from keras_griffin.layers.initializers.state_space_initializer import STEP_RANGE, legs_of_pairs
from keras_griffin.layers.units.state_space.diagonal_dynamics import DiagonalDynamics
from keras_griffin.layers.units.state_space.s5 import bilinear
from keras_griffin.layers.units.state_space.state_space_unit import EVEN, StateSpaceUnit
from keras_griffin.ops.recurrence.numbers import Components, conjugate, multiply
from keras_griffin.shapes import RecurrentOptions, Tensor


class LowRankDynamics(DiagonalDynamics):
    """lambda, P, B and d of each channel, at the start HiPPO-LegS; P and B as [real; imaginary parts]."""

    @staticmethod
    def weights_of(width: int, state_size: int, units: tuple[str, int]) -> dict[str, Weight]:
        """The weights, by path."""
        whole = Weight((width, state_size), 0, units)
        diagonal = DiagonalDynamics.weights_of(width, state_size, units)
        return {**diagonal, "low_rank": whole, "input_weights": whole}

    def build(self, inputs_shape):
        """Create the weights."""
        super().build(inputs_shape)
        _, *columns = legs_of_pairs(self.state_size)
        low_rank, entering = (np.concatenate([column.real, column.imag]) for column in columns)
        self.low_rank = self.add("low_rank", low_rank, inputs_shape[-1])
        self.input_weights = self.add("input_weights", entering, inputs_shape[-1])

    def matrices(self) -> tuple[Tensor, Tensor]:
        """The samples' A, `(D, N, N)`, and b, `(D, N)`, on [Re s; Im s], float32.

        With w = lambda d / 2, A is (1 + w) / (1 - w) and a correction of rank one, by the Woodbury formula:

            q = P / (1 - w),  r = P / (1 - w)*,  e = 2 d / (1 + d Re(P* q))
            A s = (1 + w) / (1 - w) s - e q Re(r* s),  b = d B / (1 - w) - e d / 2 q Re(r* B)

        Only numbers of a positive real part are inverted.
        """
        rate, step = self.continuous()
        decay, factor = bilinear(rate, step)
        low_rank, entering = (
            tuple(ops.split(ops.cast(weight, "float32"), 2, axis=-1)) for weight in (self.low_rank, self.input_weights)
        )
        inverse = factor[0] / step, factor[1] / step
        column, row = multiply(inverse, low_rank), multiply(conjugate(inverse), low_rank)
        scale = 2.0 * step / (1.0 + step * _real_product(low_rank, column))
        correction = _joined(column) * scale
        b = _joined(multiply(factor, entering)) - 0.5 * step * correction * _real_product(row, entering)
        return _turning(decay) - ops.expand_dims(correction, -1) * ops.expand_dims(_joined(row), -2), b


class S4State(NamedTuple):
    """The state of `S4`."""

    #: `(B, D, N)`, float32: [Re s; Im s] after the last step.
    hidden: Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class S4(StateSpaceUnit):
    """The structured state space layer (S4): for each channel a state space that starts as HiPPO-LegS.

        s' = L s + B x,  y = 2 Re(C s) + D x                       N / 2 complex numbers
        L s = lambda * s - 2 P Re(P* s)
        s_t = A s_{t-1} + b x_t                                    its samples by the trapezoidal rule
        A = (1 - d / 2 L)^-1 (1 + d / 2 L),  b = (1 - d / 2 L)^-1 d B

    d is the step, one for each channel. Of each pair of conjugate states one is kept, hence each 2. Re lambda is
    negative whatever its weight, and so is x . L x for any P: no state grows. A is a matrix of N^2 real numbers for
    each channel, made in each call; there are no Cauchy kernel and no Fourier transform. The recurrence is in float32.

    Args:
        state_size: N, the real numbers of a channel's state, even.
        step_range: the range of d at the start, uniform in its logarithm.
        **kwargs: `return_sequences`, `return_state`, `go_backwards`, `stateful` and others; see `RecurrentUnit`.

    State: `S4State`, [Re s; Im s].

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.layers.S4(state_size=16)(np.ones((2, 10, 32), "float32")).shape)
        (2, 32)

    Reference: Gu et al. 2021 (arXiv 2111.00396), section 3; the sign of P P*, as in Goel et al. 2022
    (arXiv 2202.09729), section 4.
    """

    state_type = S4State
    dynamics_type = LowRankDynamics

    def __init__(
        self,
        *,
        state_size: int = 64,
        step_range: tuple[float, float] = (0.001, 0.1),
        **kwargs: Unpack[RecurrentOptions],
    ):
        super().__init__(**kwargs)
        self.state_size = self.checked(EVEN, state_size=state_size)
        self.step_range = self.checked(STEP_RANGE, step_range=step_range)

    def make_dynamics(self, **options: Any) -> LowRankDynamics:
        return LowRankDynamics(self.state_size, "legs", self.step_range, **options)

    def system(self) -> tuple[Tensor, Tensor]:
        return self.dynamics.matrices()

    @classmethod
    def reach_of(cls, **arguments: Any) -> None:
        """All steps, for `sequence_parallel`, which cannot divide this recurrence."""


def _joined(number):
    return ops.concatenate(number, axis=-1)


def _real_product(first, second):
    """Re(first* second), summed over the numbers of a channel: `(D, 1)`."""
    return ops.sum(first[0] * second[0] + first[1] * second[1], axis=-1, keepdims=True)


def _turning(number: Components) -> Tensor:
    """Products with complex numbers `(D, N / 2)`, as matrices of [real; imaginary parts], `(D, N, N)`."""
    real, imaginary = (ops.expand_dims(part, -1) * ops.eye(part.shape[-1]) for part in number)
    rows = ops.concatenate([real, -imaginary], axis=-1), ops.concatenate([imaginary, real], axis=-1)
    return ops.concatenate(rows, axis=-2)
