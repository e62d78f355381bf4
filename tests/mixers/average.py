"""A mixer that is not the package's: an exponential moving average, and a model of it beside local attention."""

from typing import NamedTuple

import keras
from keras import ops

from keras_griffin.checks import FRACTION
from keras_griffin.generation import register_state_type
from keras_griffin.layers import Mixer, StateSpec, Weight
from keras_griffin.layers.base.initialization import scaled
from keras_griffin.layers.base.sequence_layer import Decays
from keras_griffin.layers.base.weights import dense_weights
from keras_griffin.layers.projection import project
from keras_griffin.models import GriffinConfig
from keras_griffin.ops import linear_scan


@register_state_type
class AverageState(NamedTuple):
    """The state of `Average`."""

    #: `(B, D)`, float32.
    average: object


@keras.saving.register_keras_serializable("tests")
class Average(Mixer):
    """y = W (sigma(a) * h), h_t = rate h_(t-1) + (1 - rate) x_t."""

    state_type = AverageState
    undecayed = ("map",)

    def __init__(self, rate: float, output_variance_scale: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.rate = self.checked(FRACTION, rate=rate)
        self.output_variance_scale = output_variance_scale

    @classmethod
    def arguments_for_model(cls, config):
        return {"rate": 0.5, "output_variance_scale": 2.0 / config.num_layers}

    @classmethod
    def weights_of(cls, width, **arguments):
        units = ("width", width)
        return {"strength": Weight((width,), 0, units), **dense_weights("map", width, width, 0, units)}

    @classmethod
    def state_of(cls, width, tokens, **arguments):
        return {"average": StateSpec((width,), "float32")}

    @classmethod
    def reach_of(cls, **arguments):
        return 0

    def initializers(self):
        return {"strength": keras.initializers.Ones(), "map/kernel": scaled(self.output_variance_scale)}

    def advance(self, inputs, state, *, reset=None, mask=None):
        inputs, reset, mask = self.prepare(inputs, reset, mask)
        decay = ops.full_like(inputs, self.rate)
        averages, last = linear_scan(decay, (1 - self.rate) * inputs, state.average, reset=reset, mask=mask)
        averages = ops.cast(averages, self.compute_dtype) * ops.cast(ops.sigmoid(self.strength), self.compute_dtype)
        return project(self.map, averages), AverageState(last)

    def decays_of(self, inputs):
        return Decays(ops.full_like(ops.cast(inputs, "float32"), self.rate - 1.0), ops.zeros_like(inputs, "bool"))


def config_of_average() -> GriffinConfig:
    """With `Average` as the row "average" of `MIXERS`."""
    pattern = ("average", "local_mqa")
    options = {"average": {"rate": 0.75}}
    return GriffinConfig(13, 16, 2, 2, window=4, num_gate_blocks=4, block_pattern=pattern, mixer_options=options)
