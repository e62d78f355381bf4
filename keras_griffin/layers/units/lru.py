"""The linear recurrent unit."""

import math
from collections.abc import Callable
from typing import Any, Unpack

import keras
from keras import ops

from keras_griffin.checks import COUNT, FLAG, POSITIVE
from keras_griffin.layers.base.configured import range_rule
from keras_griffin.layers.base.initialization import scaled, seeded_when_called
from keras_griffin.layers.base.weights import StateSpec, Weight, dense_weights
from keras_griffin.layers.initializers.state_space_initializer import log_of_uniform, ring
from keras_griffin.layers.projection import project
from keras_griffin.layers.units.recurrent_unit import RecurrentUnit, RecurrentUnitState
from keras_griffin.ops.linear_scan import linear_scan
from keras_griffin.shapes import RecurrentOptions, State, Tensor

RING = range_rule("0 <= low < high <= 1", lambda low, high: 0.0 <= low < high <= 1.0)


@keras.saving.register_keras_serializable("keras_griffin")
class LRU(RecurrentUnit):
    """The linear recurrent unit (LRU): a complex diagonal recurrence with constant decays.

        lambda = exp(-exp(nu) + i exp(theta))
        s_t = lambda * s_{t-1} + exp(gamma) * (B x_t)         N complex numbers
        y_t = Re(C s_t) + D * x_t

    It is linear in x, and time-invariant: what makes a network of it expressive comes after it, as in `UnitBlock`.
    gamma starts at log sqrt(1 - |lambda|^2), so that the states have the variance of B x. A complex number is a pair of
    real ones throughout; the recurrence is in float32.

    Args:
        state_size: N; None for the inputs' width.
        ring: the range of |lambda| at the start, uniform by area; (0.9, 0.999) for long memory.
        maximum_phase: the range of the phase of lambda at the start, from 0 (radians).
        trained_gamma: whether gamma is a weight; if not, it follows from lambda at every step.
        **kwargs: `return_sequences`, `return_state`, `go_backwards`, `stateful` and others; see `RecurrentUnit`.

    State: `RecurrentUnitState`, [Re s; Im s] as `(B, 2 N)` float32.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.layers.LRU(state_size=64)(np.ones((2, 10, 32), "float32")).shape)
        (2, 32)

    Reference: Orvieto et al. 2023 (arXiv 2303.06349), section 3 and appendix A.
    """

    dynamics_weights = ("nu", "theta", "gamma")
    repeats_outputs = False
    published_readout = "glu"

    def __init__(
        self,
        *,
        state_size: int | None = None,
        ring: tuple[float, float] = (0.0, 1.0),
        maximum_phase: float = 2.0 * math.pi,
        trained_gamma: bool = True,
        **kwargs: Unpack[RecurrentOptions],
    ):
        super().__init__(**kwargs)
        self.state_size = self.checked(COUNT.or_none(), state_size=state_size)
        self.ring = self.checked(RING, ring=ring)
        self.maximum_phase = self.checked(POSITIVE, maximum_phase=maximum_phase)
        self.trained_gamma = self.checked(FLAG, trained_gamma=trained_gamma)

    @classmethod
    def weights_of(cls, width: int, **arguments: Any) -> dict[str, Weight]:
        given = cls.with_defaults(arguments)
        size = given.state_size or width
        groups = ("state_size", size)
        vectors = ("nu", "theta", "gamma") if given.trained_gamma else ("nu", "theta")
        return {
            **dense_weights("input_projection", width, 2 * size, 1, groups, bias=False),
            **dense_weights("output_projection", 2 * size, width, 0, groups, bias=False),
            **{name: Weight((size,), 0, groups) for name in vectors},
            "feedthrough": Weight((width,)),
        }

    @classmethod
    def state_of(cls, width: int, tokens: int, *, state_size: int | None = None, **others: Any) -> dict[str, StateSpec]:
        return {"hidden": StateSpec((2 * (state_size or width),), "float32")}

    def initializers(self) -> dict[str, Callable]:
        return {
            # Parts of B have variance 1 / (2 D), and parts of C 1 / N, which the kernel's fan-in of 2 N halves.
            "input_projection/kernel": scaled(0.5),
            "output_projection/kernel": scaled(2.0),
            "nu": ring(*self.ring),
            "theta": log_of_uniform(self.maximum_phase),
            "gamma": lambda shape, dtype=None: ops.cast(_log_root(ops.cast(self.nu, "float32")), dtype),
            "feedthrough": seeded_when_called(keras.initializers.RandomNormal, stddev=1.0),
        }

    def scan(self, inputs: Tensor, state: State, reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        nu, theta = ops.cast(self.nu, "float32"), ops.cast(self.theta, "float32")
        size, phase = ops.exp(-ops.exp(nu)), ops.exp(theta)
        gamma = _log_root(nu) if not self.trained_gamma else ops.cast(self.gamma, "float32")
        entering = ops.cast(project(self.input_projection, inputs), "float32")
        entering = tuple(ops.exp(gamma) * part for part in ops.split(entering, 2, axis=-1))
        decay = size * ops.cos(phase), size * ops.sin(phase)
        decay = tuple(ops.broadcast_to(part, ops.shape(entering[0])) for part in decay)
        start = tuple(ops.split(state.hidden, 2, axis=-1))
        states, last = linear_scan(decay, entering, start, reset=reset, mask=mask)
        states = ops.cast(ops.concatenate(states, -1), self.compute_dtype)
        outputs = project(self.output_projection, states) + ops.cast(self.feedthrough, self.compute_dtype) * inputs
        return outputs, RecurrentUnitState(ops.concatenate(last, -1))


def _log_root(nu):
    """log sqrt(1 - |lambda|^2), exact near one."""
    return 0.5 * ops.log(-ops.expm1(-2.0 * ops.exp(nu)))
