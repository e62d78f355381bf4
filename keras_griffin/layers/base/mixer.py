"""The base of everything that a model can mix along time with."""

from collections.abc import Callable
from typing import Any, Unpack

from keras_griffin.checks import POSITIVE
from keras_griffin.layers.base.declared import Declared
from keras_griffin.layers.base.initialization import scaled
from keras_griffin.shapes import LayerOptions


class Mixer(Declared):
    """A `SequenceLayer` that preserves the width and can be used in a `ResidualBlock` of a model.

    A subclass defines `arguments_for_model`, `weights_of` and `state_of`, and `reach_of` if its reach is bounded.

    Args:
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    Call arguments:
        inputs: `(B, T, D)`.
        reset: `(B, T)` bool, optional; at a True step everything before it is forgotten.
        mask: `(B, T)` bool, optional; a False step leaves the state unchanged.

    Output shape: `(B, T, D)`.

    Raises:
        ValueError: an argument has a wrong type or value, or does not fit the width or another argument.
    """

    @classmethod
    def arguments_for_model(cls, config: Any) -> dict[str, Any]:
        """The constructor arguments that follow from a `GriffinConfig`."""
        raise NotImplementedError(f"arguments_for_model: {cls.__name__} must define it.")

    @classmethod
    def arguments_of_layer(cls, config: Any, index: int) -> dict[str, Any]:
        """Further arguments, for the residual block of an index: only such as set initial values, not shapes."""
        return {}


class ScaledMixer(Mixer):
    """A mixer with an argument for the initial variance of its last kernel, `output_projection`, as most have.

    Args:
        output_variance_scale: the variance in units of 1 / fan-in; in a model of n layers, 2 / n.
    """

    def __init__(self, output_variance_scale: float = 1.0, **kwargs: Unpack[LayerOptions]):
        super().__init__(**kwargs)
        self.output_variance_scale = self.checked(POSITIVE, output_variance_scale=output_variance_scale)

    @classmethod
    def arguments_for_model(cls, config: Any) -> dict[str, Any]:
        return {"output_variance_scale": 2.0 / config.num_layers}

    def initializers(self) -> dict[str, Callable]:
        return {"output_projection/kernel": scaled(self.output_variance_scale)}
