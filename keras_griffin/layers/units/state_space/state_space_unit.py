"""The base of units with a state space in each channel, S4D and S4."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_griffin.checks import Rule, is_integer
from keras_griffin.layers.base.initialization import seeded_when_called
from keras_griffin.layers.base.weights import StateSpec, Weight, within
from keras_griffin.layers.units.recurrent_unit import RecurrentUnit
from keras_griffin.layers.units.state_space.diagonal_dynamics import DiagonalDynamics
from keras_griffin.ops.state_space import state_space
from keras_griffin.shapes import State, Tensor

EVEN = Rule("an even integer of at least 2", lambda value: is_integer(value) and value >= 2 and value % 2 == 0)


class StateSpaceUnit(RecurrentUnit):
    """y = 2 Re(C s) + D x for a state s of N / 2 complex numbers in each channel.

    A subclass has an argument `state_size`, N, and defines `make_dynamics` and `system`.
    """

    dynamics_type: type[DiagonalDynamics]
    repeats_outputs = False
    published_readout = "glu"

    @classmethod
    def weights_of(cls, width: int, **arguments: Any) -> dict[str, Weight]:
        size, groups = cls.with_defaults(arguments).state_size, ("width", width)
        return {
            **readout_weights(width, size, groups),
            **within("dynamics", cls.dynamics_type.weights_of(width, size, groups)),
        }

    @classmethod
    def state_of(cls, width: int, tokens: int, **arguments: Any) -> dict[str, StateSpec]:
        return {"hidden": StateSpec((width, cls.with_defaults(arguments).state_size), "float32")}

    def initializers(self) -> dict[str, Callable]:
        return readout_initializers()

    def make_dynamics(self, **options: Any) -> DiagonalDynamics:
        """The layer that holds the weights of the recurrence."""
        raise NotImplementedError(f"make_dynamics: {type(self).__name__} must define it.")

    def system(self) -> tuple[Tensor, Tensor]:
        """`transition` and `input_weights` of `ops.state_space`."""
        raise NotImplementedError(f"system: {type(self).__name__} must define it.")

    def build_weights(self, width: int) -> None:
        super().build_weights(width)
        self.dynamics = self.make_dynamics(name="dynamics", dtype="float32")
        self.dynamics.build((None, width))

    def scan(self, inputs: Tensor, state: State, reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        system = *self.system(), twice_real(self.output_weights)
        outputs, hidden = state_space(inputs, *system, state.hidden, reset=reset, mask=mask)
        return outputs + ops.cast(self.feedthrough, self.compute_dtype) * inputs, self.state_type(hidden)


def readout_weights(width: int, size: int, units: tuple[str, int]) -> dict[str, Weight]:
    """C, as [Re C; Im C], and D, of so many channels with a state of so many numbers."""
    return {"output_weights": Weight((width, size), 0, units), "feedthrough": Weight((width,), 0, units)}


def readout_initializers() -> dict[str, Callable]:
    """C of complex variance 1, and D of variance 1."""
    normal = keras.initializers.RandomNormal
    return {
        "output_weights": seeded_when_called(normal, stddev=0.5**0.5),
        "feedthrough": seeded_when_called(normal, stddev=1.0),
    }


def twice_real(output_weights: Tensor) -> Tensor:
    """The real weights of [Re s; Im s] in 2 Re(C s), for `[Re C; Im C] (D, N)`."""
    real, imaginary = ops.split(ops.cast(output_weights, "float32"), 2, axis=-1)
    return 2.0 * ops.concatenate([real, -imaginary], axis=-1)
