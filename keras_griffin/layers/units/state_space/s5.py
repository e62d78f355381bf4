"""The simplified state space layer."""

import math
from collections.abc import Callable
from typing import Any, Unpack

import keras
import numpy as np
from keras import ops

from keras_griffin.checks import COUNT, FLAG, one_of
from keras_griffin.layers.base.initialization import given, seeded_when_called
from keras_griffin.layers.base.weights import StateSpec, Weight, dense_weights
from keras_griffin.layers.initializers import state_space_initializer as initial
from keras_griffin.layers.projection import project
from keras_griffin.layers.units.recurrent_unit import RecurrentUnit, RecurrentUnitState
from keras_griffin.ops.linear_scan import linear_scan
from keras_griffin.ops.recurrence.numbers import Components, multiply
from keras_griffin.shapes import RecurrentOptions, State, Tensor


def zoh(rate: Components, step: Tensor) -> tuple[Components, Components]:
    """Zero-order hold, inputs constant over a step: a = exp(lambda d), b = (a - 1) / lambda, for Re lambda < 0."""
    size, phase = rate[0] * step, rate[1] * step
    # exp(lambda d) - 1 without cancellation where d is small.
    less_one = ops.expm1(size) * ops.cos(phase) - 2.0 * ops.sin(0.5 * phase) ** 2, ops.exp(size) * ops.sin(phase)
    return (less_one[0] + 1.0, less_one[1]), multiply(less_one, _reciprocal(rate))


def bilinear(rate: Components, step: Tensor) -> tuple[Components, Components]:
    """The trapezoidal rule: a = (1 + lambda d / 2) / (1 - lambda d / 2), b = d / (1 - lambda d / 2)."""
    half = 0.5 * rate[0] * step, 0.5 * rate[1] * step
    divisor = _reciprocal((1.0 - half[0], -half[1]))
    return multiply((1.0 + half[0], half[1]), divisor), (step * divisor[0], step * divisor[1])


def dirac(rate: Components, step: Tensor) -> tuple[Components, Components]:
    """Inputs as impulses: a = exp(lambda d), b = 1."""
    decay, _ = zoh(rate, step)
    return decay, (ops.ones_like(step), ops.zeros_like(step))


def _reciprocal(number):
    square = number[0] ** 2 + number[1] ** 2
    return number[0] / square, -number[1] / square


#: By name.
DISCRETIZATIONS: dict[str, Callable] = {"zoh": zoh, "bilinear": bilinear, "dirac": dirac}


@keras.saving.register_keras_serializable("keras_griffin")
class S5(RecurrentUnit):
    """The simplified state space layer (S5): one diagonal state space for all channels together.

        s' = lambda * s + B x,  y = 2 Re(C s) + D * x                          the continuous system
        s_t = a * s_{t-1} + b * (B x_t)                                        its samples, P complex numbers
        "zoh":       a = exp(lambda d),  b = (a - 1) / lambda
        "bilinear":  a = (1 + lambda d / 2) / (1 - lambda d / 2),  b = d / (1 - lambda d / 2)
        "dirac":     a = exp(lambda d),  b = 1

    d is the step, one for each state. lambda starts as HiPPO-LegS; Re lambda is negative whatever its weight. It is
    linear in x, and time-invariant: what makes a network of it expressive comes after it, as in `UnitBlock`. A complex
    number is a pair of real ones throughout; the recurrence is in float32.

    Args:
        state_size: N; None for the inputs' width, or for one more where pairs need an even size.
        blocks: systems of HiPPO-LegS at the start, each of N / blocks.
        conjugate_pairs: keep only one of each pair of conjugate states, so that P = N / 2; if not, P = N, and the
            output is Re(C s) without the 2.
        discretization: `"zoh"`, `"bilinear"` or `"dirac"`.
        step_range: the range of d at the start, uniform in its logarithm.
        **kwargs: `return_sequences`, `return_state`, `go_backwards`, `stateful` and others; see `RecurrentUnit`.

    State: `RecurrentUnitState`, [Re s; Im s] as `(B, 2 P)` float32.

    Raises:
        ValueError: the blocks do not divide N, or have an odd size with `conjugate_pairs`; or as for `RecurrentUnit`.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.layers.S5(state_size=64)(np.ones((2, 10, 32), "float32")).shape)
        (2, 32)

    Reference: Smith et al. 2022 (arXiv 2208.04933), section 3 and appendix B.
    """

    dynamics_weights = ("log_rate", "frequency", "log_step")
    repeats_outputs = False
    published_readout = "glu"

    def __init__(
        self,
        *,
        state_size: int | None = None,
        blocks: int = 1,
        conjugate_pairs: bool = True,
        discretization: str = "zoh",
        step_range: tuple[float, float] = (0.001, 0.1),
        **kwargs: Unpack[RecurrentOptions],
    ):
        super().__init__(**kwargs)
        self.state_size = self.checked(COUNT.or_none(), state_size=state_size)
        self.blocks = self.checked(COUNT, blocks=blocks)
        self.conjugate_pairs = self.checked(FLAG, conjugate_pairs=conjugate_pairs)
        self.discretization = self.checked(one_of(DISCRETIZATIONS), discretization=discretization)
        self.step_range = self.checked(initial.STEP_RANGE, step_range=step_range)

    @classmethod
    def weights_of(cls, width: int, **arguments: Any) -> dict[str, Weight]:
        size = cls._states(width, arguments)
        groups = ("state_size", size)
        return {
            **dense_weights("input_projection", width, 2 * size, 1, groups, bias=False),
            **dense_weights("output_projection", 2 * size, width, 0, groups, bias=False),
            **{name: Weight((size,), 0, groups) for name in cls.dynamics_weights},
            "feedthrough": Weight((width,)),
        }

    @classmethod
    def state_of(cls, width: int, tokens: int, **arguments: Any) -> dict[str, StateSpec]:
        return {"hidden": StateSpec((2 * cls._states(width, arguments),), "float32")}

    @classmethod
    def _states(cls, width, arguments):
        """P."""
        arguments = cls.with_defaults(arguments)
        return _size(width, arguments) // (2 if arguments.conjugate_pairs else 1)

    def initializers(self) -> dict[str, Callable]:
        """HiPPO-LegS for lambda, as log(-Re lambda) and Im lambda, in whose eigenvectors B and C are."""
        size = _size(self.width, self)
        if size % self.blocks or (self.conjugate_pairs and size // self.blocks % 2):
            halves = ", each of an even size" if self.conjugate_pairs else ""
            raise ValueError(f"S5: blocks must divide state_size{halves}. Got {self.blocks} and {size}.")
        eigenvalues, vectors = initial.blocks_of_legs(size, self.blocks, self.conjugate_pairs)
        return {
            "input_projection/kernel": initial.input_matrix(vectors),
            "output_projection/kernel": initial.output_matrix(vectors),
            "log_rate": given(np.log(-eigenvalues.real)),
            "frequency": given(eigenvalues.imag),
            "log_step": seeded_when_called(keras.initializers.RandomUniform, *map(math.log, self.step_range)),
            "feedthrough": seeded_when_called(keras.initializers.RandomNormal, stddev=1.0),
        }

    def scan(self, inputs: Tensor, state: State, reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        log_rate, frequency, log_step = (
            ops.cast(weight, "float32") for weight in (self.log_rate, self.frequency, self.log_step)
        )
        discretize = DISCRETIZATIONS[self.discretization]
        decay, factor = discretize((-ops.exp(log_rate), frequency), ops.exp(log_step))
        entering = ops.cast(project(self.input_projection, inputs), "float32")
        entering = multiply(factor, tuple(ops.split(entering, 2, axis=-1)))
        decay = tuple(ops.broadcast_to(part, ops.shape(entering[0])) for part in decay)
        states, last = linear_scan(decay, entering, tuple(ops.split(state.hidden, 2, -1)), reset=reset, mask=mask)
        read = project(self.output_projection, ops.cast(ops.concatenate(states, -1), self.compute_dtype))
        outputs = 2.0 * read if self.conjugate_pairs else read
        outputs = outputs + ops.cast(self.feedthrough, self.compute_dtype) * inputs
        return outputs, RecurrentUnitState(ops.concatenate(last, -1))


def _size(width, given):
    """N."""
    return given.state_size or width + (width % 2 if given.conjugate_pairs else 0)
