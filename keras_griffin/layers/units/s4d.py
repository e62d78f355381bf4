"""The diagonal structured state space layer."""

from collections.abc import Callable
from typing import Any, NamedTuple, Unpack

import keras
from keras import ops

from keras_griffin.checks import Rule, is_integer, one_of
from keras_griffin.layers.base.initialization import seeded_when_called
from keras_griffin.layers.base.weights import StateSpec, Weight, within
from keras_griffin.layers.initializers.state_space_initializer import DIAGONALS, STEP_RANGE
from keras_griffin.layers.units.diagonal_dynamics import SAMPLINGS, DiagonalDynamics
from keras_griffin.layers.units.recurrent_unit import RecurrentUnit
from keras_griffin.ops.state_space import state_space
from keras_griffin.shapes import RecurrentOptions, State, Tensor

EVEN = Rule("an even integer of at least 2", lambda value: is_integer(value) and value >= 2 and value % 2 == 0)


class S4DState(NamedTuple):
    """The state of `S4D`."""

    #: `(B, D, N)`, float32: [Re s; Im s] after the last step.
    hidden: Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class S4D(RecurrentUnit):
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
    repeats_outputs = False
    published_readout = "glu"

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

    @classmethod
    def weights_of(cls, width: int, **arguments: Any) -> dict[str, Weight]:
        size, groups = cls.with_defaults(arguments).state_size, ("width", width)
        return {
            "output_weights": Weight((width, size), 0, groups),
            "feedthrough": Weight((width,), 0, groups),
            **within("dynamics", DiagonalDynamics.weights_of(width, size, groups)),
        }

    @classmethod
    def state_of(cls, width: int, tokens: int, **arguments: Any) -> dict[str, StateSpec]:
        return {"hidden": StateSpec((width, cls.with_defaults(arguments).state_size), "float32")}

    def initializers(self) -> dict[str, Callable]:
        """C = [Re C; Im C], of complex variance 1."""
        normal = keras.initializers.RandomNormal
        return {
            "output_weights": seeded_when_called(normal, stddev=0.5**0.5),
            "feedthrough": seeded_when_called(normal, stddev=1.0),
        }

    def build_weights(self, width: int) -> None:
        super().build_weights(width)
        options = self.state_size, self.initialization, self.step_range
        self.dynamics = DiagonalDynamics(*options, name="dynamics", dtype="float32")
        self.dynamics.build((None, width))

    def scan(self, inputs: Tensor, state: State, reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        transition, input_weights = self.dynamics.sampled(self.discretization)
        outputs, hidden = state_space(
            inputs, transition, input_weights, twice_real(self.output_weights), state.hidden, reset=reset, mask=mask
        )
        return outputs + ops.cast(self.feedthrough, self.compute_dtype) * inputs, S4DState(hidden)


def twice_real(output_weights: Tensor) -> Tensor:
    """The real weights of [Re s; Im s] in 2 Re(C s), for `[Re C; Im C] (D, N)`."""
    real, imaginary = ops.split(ops.cast(output_weights, "float32"), 2, axis=-1)
    return 2.0 * ops.concatenate([real, -imaginary], axis=-1)
