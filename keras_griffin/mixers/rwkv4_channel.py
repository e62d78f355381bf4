"""The channel mixing of RWKV-4."""

from collections.abc import Callable
from typing import Any, NamedTuple, Unpack

import keras
from keras import ops

from keras_griffin.checks import COUNT, checked, integer_from
from keras_griffin.layers import Mixer, StateSpec, Weight, dense_weights, project
from keras_griffin.layers.base.initialization import given
from keras_griffin.layers.initializers.rwkv_initializer import mix_of_channels, orthogonal, place_of
from keras_griffin.layers.token_shift import taps_of
from keras_griffin.shapes import LayerOptions, Tensor


class RWKV4ChannelState(NamedTuple):
    """The state of `RWKV4Channel`."""

    #: `(B, 1, D)`, compute dtype: the newest input.
    inputs: Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class RWKV4Channel(Mixer):
    """Mix channels as RWKV-4 does: a squared MLP and a gate, which see the current input and the one before it.

        k_t, r_t = W (mu * x_t + (1 - mu) * x_{t-1}), each with its own W and mu
        y_t = sigmoid(r_t) * W_value max(k_t, 0)^2

    Args:
        expand: the width of k in units of D.
        layer: the index of the layer among those of its kind, which sets the initial values.
        num_layers: the number of such layers.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    State: `RWKV4ChannelState`. Call arguments, shapes and errors: see `keras_griffin.layers.Mixer`.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.mixers.RWKV4Channel()(np.ones((2, 5, 8), "float32")).shape)
        (2, 5, 8)

    Reference: Peng et al. 2023 (arXiv 2305.13048), section 3, equation 18; initial values of its authors' code.
    """

    state_type = RWKV4ChannelState

    def __init__(self, expand: int = 4, layer: int = 0, num_layers: int = 1, **kwargs: Unpack[LayerOptions]):
        super().__init__(**kwargs)
        name = type(self).__name__
        self.expand = checked(name, COUNT, expand=expand)
        self.layer = checked(name, integer_from(0), layer=layer)
        self.num_layers = checked(name, COUNT, num_layers=num_layers)

    @classmethod
    def arguments_for_model(cls, config: Any) -> dict[str, Any]:
        return {}

    @classmethod
    def arguments_of_layer(cls, config: Any, index: int) -> dict[str, Any]:
        return place_of(config, index)

    @classmethod
    def weights_of(cls, width: int, *, expand: int = 4, **others: Any) -> dict[str, Weight]:
        inner = ("inner_width", expand * width)
        return {
            **dense_weights("key", width, expand * width, 1, inner, bias=False),
            **dense_weights("value", expand * width, width, 0, inner, bias=False),
            "receptance/kernel": Weight((width, width), stored=(0, 1), layer="dense"),
            "mix_key": Weight((width,)),
            "mix_receptance": Weight((width,)),
        }

    @classmethod
    def state_of(cls, width: int, tokens: int, **others: Any) -> dict[str, StateSpec]:
        return {"inputs": StateSpec((1, width))}

    @classmethod
    def reach_of(cls, **arguments: Any) -> int:
        return 1

    def initializers(self) -> dict[str, Callable]:
        zeros = keras.initializers.Zeros()
        # In this half of the block both mixtures start alike.
        mix = given(mix_of_channels("key", self.layer, self.num_layers, self.width))
        kernels = {"key": orthogonal(float(self.expand) ** 0.5), "value": zeros, "receptance": zeros}
        return {**{f"{name}/kernel": each for name, each in kernels.items()}, "mix_key": mix, "mix_receptance": mix}

    def advance(
        self, inputs: Tensor, state: RWKV4ChannelState, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, RWKV4ChannelState]:
        """Continue from `state`; see `SequenceLayer.advance`."""
        inputs, reset, mask = self.prepare(inputs, reset, mask)
        (before, now), newest = taps_of(inputs, state.inputs, reset, mask)
        key, receptance = (
            project(layer, before + ops.cast(mix, self.compute_dtype) * (now - before))
            for layer, mix in ((self.key, self.mix_key), (self.receptance, self.mix_receptance))
        )
        outputs = ops.sigmoid(receptance) * project(self.value, ops.square(ops.relu(key)))
        return outputs, RWKV4ChannelState(newest)
