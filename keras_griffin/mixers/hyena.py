"""The Hyena operator."""

from collections.abc import Callable
from typing import Any, NamedTuple, Unpack

import keras
from keras import ops

from keras_griffin.checks import COUNT, Rule, integer_from, is_integer
from keras_griffin.layers import StateSpec, TemporalConv1D, Weight, dense_weights, project
from keras_griffin.layers.base.initialization import seeded_when_called
from keras_griffin.layers.base.mixer import ScaledMixer
from keras_griffin.layers.base.weights import within
from keras_griffin.layers.hyena_filter import HyenaFilter
from keras_griffin.layers.temporal_conv import TemporalConvState
from keras_griffin.ops.causal_conv import causal_conv
from keras_griffin.shapes import LayerOptions, Tensor

FEATURES = Rule("an odd integer of at least 3", lambda value: is_integer(value) and value >= 3 and value % 2 == 1)


class HyenaState(NamedTuple):
    """The state of `Hyena`."""

    #: `(B, taps - 1, (order + 1) D)`, compute dtype: the newest inputs of the short convolution, oldest first.
    inputs: Tensor
    #: `(B, max_length - 1, (order - 1) D)`, compute dtype: what the long convolutions have read, oldest first.
    read: Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class Hyena(ScaledMixer):
    """Mix along time with gates and long convolutions, whose taps are a function of their distance.

        [x^0; ...; x^{order-1}; v] = conv(W_in u + b_in)       D channels each; a short convolution
        v <- h^i * (x^i v) + d^i x^i v,  i = order - 1 .. 1    *: a causal one of max_length taps
        y = W_out (x^0 v) + b_out

    h are the taps of a `HyenaFilter`: they are the same function of distance / max_length, so a model keeps the
    `max_length` with which it was trained. A longer text is read, but no tap reaches further back.

    There is no short state. To decode a token, each long convolution reads all that it has read so far:
    (order - 1) D max_length numbers and products, at D = 1024 and 2,048 taps 2.1 million, where a window of 1,024 keys
    of 128 channels has 262 thousand; and each call computes the taps again.

    Args:
        order: the number of gates; one more than that of long convolutions.
        max_length: their taps, and the length in which the windows of the taps decay.
        filter_width: the width of the network that computes taps.
        filter_features: the features of a distance that it gets, odd: the distance itself, and pairs of waves.
        conv_kernel_size: taps of the short convolution.
        output_variance_scale: variance of the last kernel, in units of 1 / fan-in.

    State: `HyenaState`. Call arguments, shapes, errors and `**kwargs`: see `keras_griffin.layers.Mixer`.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.mixers.Hyena(max_length=64)(np.ones((2, 5, 8), "float32")).shape)
        (2, 5, 8)

    Reference: Poli et al. 2023 (arXiv 2302.10866), section 3 and appendix D. As in its authors' code, an order of n
    has n - 1 long convolutions; definition 3.1 has n.
    """

    state_type = HyenaState
    undecayed = ("filter",)

    def __init__(
        self,
        order: int = 2,
        max_length: int = 2048,
        filter_width: int = 64,
        filter_features: int = 3,
        conv_kernel_size: int = 3,
        output_variance_scale: float = 1.0,
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(output_variance_scale, **kwargs)
        self.order = self.checked(integer_from(2), order=order)
        self.max_length = self.checked(integer_from(2), max_length=max_length)
        self.filter_width = self.checked(COUNT, filter_width=filter_width)
        self.filter_features = self.checked(FEATURES, filter_features=filter_features)
        self.conv_kernel_size = self.checked(COUNT, conv_kernel_size=conv_kernel_size)

    @classmethod
    def weights_of(cls, width: int, **arguments: Any) -> dict[str, Weight]:
        given = cls.with_defaults(arguments)
        channels, inner = (given.order - 1) * width, (given.order + 1) * width
        of_filter = HyenaFilter.weights_of(channels, given.filter_width, given.filter_features)
        return {
            **dense_weights("input_projection", width, inner),
            **dense_weights("output_projection", width, width, 0),
            "skip": Weight((channels,)),
            "conv/kernel": Weight((given.conv_kernel_size, inner)),
            "conv/bias": Weight((inner,)),
            **within("filter", of_filter),
        }

    @classmethod
    def state_of(cls, width: int, tokens: int, **arguments: Any) -> dict[str, StateSpec]:
        given = cls.with_defaults(arguments)
        return {
            "inputs": StateSpec((given.conv_kernel_size - 1, (given.order + 1) * width)),
            "read": StateSpec((given.max_length - 1, (given.order - 1) * width)),
        }

    @classmethod
    def reach_of(cls, **arguments: Any) -> int:
        given = cls.with_defaults(arguments)
        return given.conv_kernel_size - 1 + (given.order - 1) * (given.max_length - 1)

    def initializers(self) -> dict[str, Callable]:
        return {**super().initializers(), "skip": seeded_when_called(keras.initializers.RandomNormal, stddev=1.0)}

    def build(self, inputs_shape):
        super().build(inputs_shape)
        self.conv = TemporalConv1D(self.conv_kernel_size, name="conv", dtype=self.dtype_policy)
        self.conv.build((None, None, (self.order + 1) * self.width))
        sizes = self.max_length, (self.order - 1) * self.width, self.filter_width, self.filter_features
        self.filter = HyenaFilter(*sizes, name="filter", dtype="float32")
        self.filter.build()

    def advance(
        self, inputs: Tensor, state: HyenaState, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, HyenaState]:
        """Continue from `state`; see `SequenceLayer.advance`."""
        inputs, reset, mask = self.prepare(inputs, reset, mask)
        projected = project(self.input_projection, inputs)
        mixed, conv = self.conv.advance(projected, TemporalConvState(state.inputs), reset=reset, mask=mask)
        first, *gates, value = ops.split(mixed, self.order + 1, axis=-1)
        # Oldest first. The current value passes beside the filter too.
        kernel, skip = ops.flip(self.filter.taps(), axis=0), ops.cast(self.skip, "float32")
        kernel = ops.concatenate([kernel[:-1], kernel[-1:] + skip], axis=0)
        kernels, starts = (ops.split(x, self.order - 1, axis=-1) for x in (kernel, state.read))
        read = []
        for gate, kernel, start in zip(reversed(gates), kernels, starts, strict=True):
            value, newest = causal_conv(gate * value, kernel, None, start, reset=reset, mask=mask)
            read.append(newest)
        state = HyenaState(conv.inputs, ops.concatenate(read, axis=-1))
        return project(self.output_projection, first * value), state
