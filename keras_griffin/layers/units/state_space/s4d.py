"""The diagonal structured state space layer."""

from typing import Any, NamedTuple, Unpack

import keras

from keras_griffin.checks import one_of
from keras_griffin.layers.initializers.state_space_initializer import DIAGONALS, STEP_RANGE
from keras_griffin.layers.units.state_space.diagonal_dynamics import SAMPLINGS, DiagonalDynamics
from keras_griffin.layers.units.state_space.state_space_unit import EVEN, StateSpaceUnit
from keras_griffin.shapes import RecurrentOptions, Tensor


class S4DState(NamedTuple):
    """The state of `S4D`."""

    #: `(B, D, N)`, float32: [Re s; Im s] after the last step.
    hidden: Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class S4D(StateSpaceUnit):
    """The diagonal structured state space layer (S4D): for each channel a diagonal state space of its own.

        s' = lambda * s + x,  y = 2 Re(C s) + D x                              the continuous system
        s_t = a * s_{t-1} + b x_t                                              its samples, N / 2 complex numbers
        "zoh":       a = exp(lambda d),  b = (a - 1) / lambda
        "bilinear":  a = (1 + lambda d / 2) / (1 - lambda d / 2),  b = d / (1 - lambda d / 2)

    d is the step, one for each channel. Of each pair of conjugate states one is kept, hence the 2; the input matrix is
    ones, as C could scale it. Re lambda is negative whatever its weight. It is linear in x, and time-invariant: what
    makes a network of it expressive comes after it, as in `UnitBlock`. A complex number is a pair of real ones
    throughout; the recurrence is in float32.

    Args:
        state_size: N, the real numbers of a channel's state, even.
        initialization: lambda_n at the start, n = 0 .. N / 2 - 1: `"lin"`, -1/2 + i pi n; `"inv"`,
            -1/2 + i (N / (2 n + 1) - 1) N / pi; or `"legs"`, the eigenvalues of the normal part of HiPPO-LegS.
        discretization: `"zoh"` or `"bilinear"`.
        step_range: the range of d at the start, uniform in its logarithm.
        **kwargs: `return_sequences`, `return_state`, `go_backwards`, `stateful` and others; see `RecurrentUnit`.

    State: `S4DState`, [Re s; Im s].

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.layers.S4D()(np.ones((2, 10, 32), "float32")).shape)
        (2, 32)

    Reference: Gu et al. 2022 (arXiv 2206.11893), sections 3 and 4.
    """

    state_type = S4DState
    dynamics_type = DiagonalDynamics

    def __init__(
        self,
        *,
        state_size: int = 64,
        initialization: str = "lin",
        discretization: str = "zoh",
        step_range: tuple[float, float] = (0.001, 0.1),
        **kwargs: Unpack[RecurrentOptions],
    ):
        super().__init__(**kwargs)
        self.state_size = self.checked(EVEN, state_size=state_size)
        self.initialization = self.checked(one_of(DIAGONALS), initialization=initialization)
        self.discretization = self.checked(one_of(SAMPLINGS), discretization=discretization)
        self.step_range = self.checked(STEP_RANGE, step_range=step_range)

    def make_dynamics(self, **options: Any) -> DiagonalDynamics:
        return DiagonalDynamics(self.state_size, self.initialization, self.step_range, **options)

    def system(self) -> tuple[Tensor, Tensor]:
        return self.dynamics.sampled(self.discretization)
