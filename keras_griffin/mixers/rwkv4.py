"""The time mixing of RWKV-4."""

from collections.abc import Callable
from typing import Any, NamedTuple, Unpack

import keras
from keras import ops

from keras_griffin.checks import checked, integer_from
from keras_griffin.layers import Mixer, StateSpec, Weight, dense_weights, project
from keras_griffin.layers.base.initialization import given
from keras_griffin.layers.initializers.rwkv_initializer import (
    decay_of_channels,
    first_of_channels,
    mix_of_channels,
    orthogonal,
    place_of,
)
from keras_griffin.layers.running_average import RunningAverage, running_average
from keras_griffin.layers.token_shift import taps_of
from keras_griffin.ops.log_scan.log_numbers import NOTHING
from keras_griffin.shapes import LayerOptions, Tensor

#: What is projected from a mixture of each input and the one before it.
MIXED = ("key", "value", "receptance")


class RWKV4State(NamedTuple):
    """The state of `RWKV4`."""

    #: `(B, 1, D)`, compute dtype: the newest input.
    inputs: Tensor
    #: `(B, D)`, float32: the average of the values so far.
    average: Tensor
    #: `(B, D)`, float32: the logarithm of the sum of their weights; -1e30 before the first.
    log_weight: Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class RWKV4(Mixer):
    """Mix along time as RWKV-4 does: an average of values whose weights decay, and a gate.

        k_t, v_t, r_t = W (mu * x_t + (1 - mu) * x_{t-1}), each with its own W and mu
        p_i = exp(k_i - (t - 1 - i) w) for i < t,  p_t = exp(k_t + u)        weights
        wkv_t = sum_i p_i v_i / sum_i p_i,  w = exp(log_rate)
        y_t = W_out (sigmoid(r_t) * wkv_t)

    The state keeps the average and the logarithm of its weights, both float32, so no key overflows. RWKV-4 alternates
    it with `RWKV4Channel` in place of MLPs: `block_pattern=("rwkv4", "rwkv4_channel")`, `mlp_width=0`,
    `norm="layer"`, `embedding_norm=True`, `tie_embeddings=False`.

    Args:
        layer: the index of the layer among those of its kind, which sets the initial values.
        num_layers: the number of such layers.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    State: `RWKV4State`. Call arguments, shapes and errors: see `keras_griffin.layers.Mixer`.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.mixers.RWKV4()(np.ones((2, 5, 8), "float32")).shape)
        (2, 5, 8)

    Reference: Peng et al. 2023 (arXiv 2305.13048), section 3, equations 11 to 17; initial values of its authors' code.
    """

    state_type = RWKV4State

    def __init__(self, layer: int = 0, num_layers: int = 1, **kwargs: Unpack[LayerOptions]):
        super().__init__(**kwargs)
        name = type(self).__name__
        self.layer = checked(name, integer_from(0), layer=layer)
        self.num_layers = checked(name, integer_from(1), num_layers=num_layers)

    @classmethod
    def arguments_for_model(cls, config: Any) -> dict[str, Any]:
        return {}

    @classmethod
    def arguments_of_layer(cls, config: Any, index: int) -> dict[str, Any]:
        return place_of(config, index)

    @classmethod
    def weights_of(cls, width: int, **others: Any) -> dict[str, Weight]:
        groups = ("width", width)
        weights: dict[str, Weight] = {}
        for name in MIXED:
            weights |= dense_weights(name, width, width, 1, groups, bias=False)
            weights[f"mix_{name}"] = Weight((width,))
        return {
            **weights,
            **dense_weights("output_projection", width, width, 0, groups, bias=False),
            "log_rate": Weight((width,), 0, groups),
            "first": Weight((width,), 0, groups),
        }

    @classmethod
    def state_of(cls, width: int, tokens: int, **others: Any) -> dict[str, StateSpec]:
        return {
            "inputs": StateSpec((1, width)),
            "average": StateSpec((width,), "float32"),
            "log_weight": StateSpec((width,), "float32", NOTHING),
        }

    def initializers(self) -> dict[str, Callable]:
        place, zeros = (self.layer, self.num_layers), keras.initializers.Zeros()
        return {
            **{f"{name}/kernel": zeros for name in (*MIXED, "output_projection")},
            "value/kernel": orthogonal(),
            **{f"mix_{name}": given(mix_of_channels(name, *place, self.width)) for name in MIXED},
            "log_rate": given(decay_of_channels(*place, self.width)),
            "first": given(first_of_channels(self.width)),
        }

    def advance(
        self, inputs: Tensor, state: RWKV4State, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, RWKV4State]:
        """Continue from `state`; see `SequenceLayer.advance`."""
        inputs, reset, mask = self.prepare(inputs, reset, mask)
        (before, now), newest = taps_of(inputs, state.inputs, reset, mask)
        key, value, receptance = (self._mixed(name, before, now) for name in MIXED)
        rate, first = (ops.cast(vector, "float32") for vector in (self.log_rate, self.first))
        log_decay = ops.broadcast_to(-ops.exp(rate), ops.shape(key))
        start = RunningAverage(state.average, state.log_weight)
        _, past, last = running_average(log_decay, key, value, start, reset, mask)
        # The weight of the current value beside the past, which is its sigmoid.
        share = ops.clip(first + key - past.log_weight, -80.0, 80.0)
        average = ops.sigmoid(-share) * past.average + ops.sigmoid(share) * value
        mixed = ops.cast(ops.sigmoid(receptance) * average, self.compute_dtype)
        return project(self.output_projection, mixed), RWKV4State(newest, last.average, last.log_weight)

    def _mixed(self, name, before, now):
        """W (mu x_t + (1 - mu) x_{t-1}), in float32."""
        mix = ops.cast(getattr(self, f"mix_{name}"), self.compute_dtype)
        return ops.cast(project(getattr(self, name), before + mix * (now - before)), "float32")
