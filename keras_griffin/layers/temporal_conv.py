"""The short causal depthwise convolution of the recurrent block."""

from typing import NamedTuple, Unpack

import keras
from keras import ops

from keras_griffin.checks import COUNT, FLAG
from keras_griffin.layers.base.initialization import random_initializer
from keras_griffin.layers.base.sequence_layer import SequenceLayer
from keras_griffin.ops.causal_conv import causal_conv
from keras_griffin.shapes import LayerOptions, Tensor


class TemporalConvState(NamedTuple):
    """The state of `TemporalConv1D`."""

    #: `(B, kernel_size - 1, D)`, compute dtype: the newest inputs, oldest first, zeros where there were none.
    inputs: Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class TemporalConv1D(SequenceLayer):
    """Convolve each channel over its last few steps.

        y_t = b + sum_s w[kernel_size - 1 - s] * x_{t-s}        s = 0 .. kernel_size - 1

    Steps before the start are zeros. No tap reaches across a reset; a masked step outputs zero, and no later step sees
    it.

    Args:
        kernel_size: the number of taps, including the current step's.
        use_bias: whether to add a bias, initially zero.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    Call arguments:
        inputs: `(B, T, D)`.
        reset: `(B, T)` bool, optional; at a True step the history is forgotten first.
        mask: `(B, T)` bool, optional.

    State: `TemporalConvState`, the newest `kernel_size - 1` inputs.

    Input and output shape: `(B, T, D)`.

    Raises:
        ValueError: an argument has a wrong type or value.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> layer = keras_griffin.layers.TemporalConv1D(kernel_size=4)
        >>> tuple(layer(np.ones((2, 10, 8), "float32")).shape)
        (2, 10, 8)

    Reference: De et al. 2024 (arXiv 2402.19427), section 2.3.
    """

    def __init__(self, kernel_size: int = 4, use_bias: bool = True, **kwargs: Unpack[LayerOptions]):
        super().__init__(**kwargs)
        self.kernel_size = self.checked(COUNT, kernel_size=kernel_size)
        self.use_bias = self.checked(FLAG, use_bias=use_bias)

    def build(self, inputs_shape):
        """Create the kernel `(kernel_size, D)` and the bias `(D,)`."""
        super().build(inputs_shape)
        initializer = random_initializer(keras.initializers.RandomNormal(stddev=(0.01 / self.kernel_size) ** 0.5))
        self.kernel = self.add_weight((self.kernel_size, self.width), initializer, name="kernel", autocast=False)
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight((self.width,), "zeros", name="bias", autocast=False)

    def initial_state(self, batch_size: int) -> TemporalConvState:
        """No input yet: zeros."""
        self.require_built("initial_state")
        return TemporalConvState(ops.zeros((batch_size, self.kernel_size - 1, self.width), self.compute_dtype))

    def advance(
        self, inputs: Tensor, state: TemporalConvState, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, TemporalConvState]:
        """Continue from `state`; see `SequenceLayer.advance`."""
        inputs, reset, mask = self.prepare(inputs, reset, mask)
        kernel = ops.cast(self.kernel, self.compute_dtype)
        bias = None if self.bias is None else ops.cast(self.bias, self.compute_dtype)
        outputs, newest = causal_conv(inputs, kernel, bias, state.inputs, reset=reset, mask=mask)
        return outputs, TemporalConvState(newest)
