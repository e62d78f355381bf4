"""The weights that set how a diagonal state space evolves, and the system that they and a step make."""

import math

import keras
import numpy as np
from keras import ops

from keras_griffin.layers.base.initialization import given, random_initializer, seeded_when_called
from keras_griffin.layers.base.weights import Weight
from keras_griffin.layers.initializers import state_space_initializer as initial
from keras_griffin.layers.units.state_space.s5 import bilinear, zoh
from keras_griffin.ops.recurrence.numbers import Components
from keras_griffin.shapes import Tensor

#: How the continuous system is sampled.
SAMPLINGS = ("zoh", "bilinear")


class DiagonalDynamics(keras.layers.Layer):
    """Of each channel lambda, N / 2 complex numbers, and a step d, as log(-Re lambda), Im lambda and log d.

    A layer of its own, so that its name, `dynamics`, excludes them from weight decay.
    """

    def __init__(self, state_size: int, initialization: str, step_range: tuple[float, float], **kwargs):
        super().__init__(**kwargs)
        self.state_size = state_size
        self.initialization = initialization
        self.step_range = step_range

    @staticmethod
    def weights_of(width: int, state_size: int, units: tuple[str, int]) -> dict[str, Weight]:
        """The weights, by path."""
        pairs = Weight((width, state_size // 2), 0, units)
        return {"log_rates": pairs, "frequencies": pairs, "log_steps": Weight((width,), 0, units)}

    def build(self, inputs_shape):
        """Create the weights."""
        eigenvalues, width = initial.DIAGONALS[self.initialization](self.state_size), inputs_shape[-1]
        self.log_rates = self.add("log_rates", np.log(-eigenvalues.real), width)
        self.frequencies = self.add("frequencies", eigenvalues.imag, width)
        steps = seeded_when_called(keras.initializers.RandomUniform, *map(math.log, self.step_range))
        self.log_steps = self.add_weight((width,), random_initializer(steps), name="log_steps", autocast=False)

    def add(self, name: str, values: np.ndarray, width: int) -> keras.Variable:
        """Create a weight with the same values for each channel."""
        values = np.tile(values, (width, 1))
        return self.add_weight(values.shape, given(values), name=name, autocast=False)

    def continuous(self) -> tuple[Components, Tensor]:
        """lambda, `(D, N / 2)`, and d, `(D, 1)`, float32."""
        log_rates, frequencies, log_steps = (
            ops.cast(weight, "float32") for weight in (self.log_rates, self.frequencies, self.log_steps)
        )
        return (-ops.exp(log_rates), frequencies), ops.expand_dims(ops.exp(log_steps), -1)

    def sampled(self, discretization: str) -> tuple[Tensor, Tensor]:
        """`transition` and `input_weights` of `ops.state_space`, each `(D, N)`, for samples of s' = lambda s + x."""
        rate, step = self.continuous()
        if discretization == "zoh":
            logarithm, (_, factor) = (rate[0] * step, rate[1] * step), zoh(rate, step)
        else:
            logarithm, (_, factor) = _logarithm_of_bilinear(rate, step), bilinear(rate, step)
        return ops.concatenate(logarithm, axis=-1), ops.concatenate(factor, axis=-1)


def _logarithm_of_bilinear(rate, step):
    """log((1 + w) / (1 - w)) for w = lambda d / 2, with all digits where it is small."""
    w, v = 0.5 * rate[0] * step, 0.5 * rate[1] * step
    above, below = (1.0 + w) ** 2 + v**2, (1.0 - w) ** 2 + v**2
    # |1 + w|^2 - |1 - w|^2 = 4 Re w. The other form is for a small |1 + w|, which may be zero.
    close = ops.log1p(ops.maximum(4.0 * w / below, -0.75))
    size = 0.5 * ops.where(above > 0.5 * below, close, ops.log(ops.maximum(above, 1e-30) / below))
    return size, ops.arctan2(2.0 * v, 1.0 - w**2 - v**2)
