"""The base of everything that a model can mix along time with."""

from collections.abc import Callable
from typing import Any, Unpack

import keras
from keras import ops

from keras_griffin.checks import COUNT, POSITIVE
from keras_griffin.layers.base.declared import Declared
from keras_griffin.layers.base.initialization import UNIFORM, scaled, seeded_when_called
from keras_griffin.ops.causal_conv import causal_conv
from keras_griffin.shapes import LayerOptions, Tensor


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


class ExpandedMixer(Mixer):
    """A mixer of E = `expand` D channels behind a short convolution, whose kernels start as those of PyTorch's layers.

    A subclass declares `conv_kernel` and `conv_bias`, and `output_projection`. Its models may have no MLP.

    Args:
        expand: E / D.
        conv_kernel_size: taps of the convolution.
        output_variance_scale: variance of the last kernel, in units of 1 / fan-in.
    """

    #: The dense layers besides `output_projection`.
    projections: tuple[str, ...]

    def __init__(
        self,
        expand: int = 2,
        conv_kernel_size: int = 4,
        output_variance_scale: float = UNIFORM,
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(**kwargs)
        self.expand = self.checked(COUNT, expand=expand)
        self.conv_kernel_size = self.checked(COUNT, conv_kernel_size=conv_kernel_size)
        self.output_variance_scale = self.checked(POSITIVE, output_variance_scale=output_variance_scale)

    @classmethod
    def arguments_for_model(cls, config: Any) -> dict[str, Any]:
        """The scale of the last kernel is for one residual branch in each layer, or two with an MLP."""
        return {"output_variance_scale": UNIFORM / (config.num_layers * (2 if config.mlp_width else 1))}

    @classmethod
    def reach_of(cls, **arguments: Any) -> int:
        return cls.with_defaults(arguments).conv_kernel_size - 1

    def initializers(self) -> dict[str, Callable]:
        """Uniform up to R^-1/2, for R inputs of a kernel or taps of the convolution."""
        scales = {**dict.fromkeys(self.projections, UNIFORM), "output_projection": self.output_variance_scale}
        limit = self.conv_kernel_size**-0.5
        of_conv = seeded_when_called(keras.initializers.RandomUniform, -limit, limit)
        kernels = {f"{name}/kernel": scaled(scale, "uniform") for name, scale in scales.items()}
        return {**kernels, "conv_kernel": of_conv, "conv_bias": of_conv}

    def convolved(
        self, inputs: Tensor, earlier: Tensor, reset: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """silu(conv(inputs)) and the newest inputs, from those before, `(B, taps - 1, C)`."""
        kernel, bias = (ops.cast(weight, self.compute_dtype) for weight in (self.conv_kernel, self.conv_bias))
        outputs, newest = causal_conv(inputs, kernel, bias, earlier, reset=reset, mask=mask)
        return ops.silu(outputs), newest
