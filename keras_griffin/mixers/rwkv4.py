"""The time mixing and the channel mixing of RWKV-4."""

from collections.abc import Callable
from typing import Any, NamedTuple, Unpack

import keras
from keras import ops

from keras_griffin.checks import COUNT, integer_from
from keras_griffin.layers import Mixer, StateSpec, Weight, dense_weights, project
from keras_griffin.layers.base.initialization import given
from keras_griffin.layers.initializers import rwkv_initializer as initial
from keras_griffin.layers.running_average import RunningAverage, running_average
from keras_griffin.layers.token_shift import taps_of
from keras_griffin.ops.log_scan.log_numbers import NOTHING
from keras_griffin.shapes import LayerOptions, Tensor

#: The projections of a mixture of each input and its predecessor.
MIXED = ("key", "value", "receptance")


class RWKVMixer(Mixer):
    """A mixer of RWKV-4, with initial values by layer, and inputs that are mixed with their predecessors."""

    def __init__(self, layer: int = 0, num_layers: int = 1, **kwargs: Unpack[LayerOptions]):
        super().__init__(**kwargs)
        self.layer = self.checked(integer_from(0), layer=layer)
        self.num_layers = self.checked(COUNT, num_layers=num_layers)

    @classmethod
    def arguments_for_model(cls, config: Any) -> dict[str, Any]:
        return {}

    @classmethod
    def reach_of(cls, **arguments: Any) -> int:
        return 1

    @classmethod
    def arguments_of_layer(cls, config: Any, index: int) -> dict[str, Any]:
        return initial.place_of(config, index)

    def mixed(self, name: str, before: Tensor, now: Tensor) -> Tensor:
        """W (mu x_t + (1 - mu) x_{t-1}), with the W and mu of a name."""
        mix = ops.cast(getattr(self, f"mix_{name}"), self.compute_dtype)
        return project(getattr(self, name), before + mix * (now - before))


class RWKV4State(NamedTuple):
    """The state of `RWKV4`."""

    #: `(B, 1, D)`, compute dtype: the newest input.
    inputs: Tensor
    #: `(B, D)`, float32: the average of the values so far.
    average: Tensor
    #: `(B, D)`, float32: the logarithm of the sum of their weights; -1e30 before the first.
    log_weight: Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class RWKV4(RWKVMixer):
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

    State: `RWKV4State`. Call arguments, shapes, errors and `**kwargs`: see `keras_griffin.layers.Mixer`.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.mixers.RWKV4()(np.ones((2, 5, 8), "float32")).shape)
        (2, 5, 8)

    Reference: Peng et al. 2023 (arXiv 2305.13048), section 3, equations 11 to 17; initial values of its authors' code.
    """

    state_type = RWKV4State

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
            "value/kernel": initial.orthogonal(),
            **{f"mix_{name}": given(initial.mix_of_channels(name, *place, self.width)) for name in MIXED},
            "log_rate": given(initial.decay_of_channels(*place, self.width)),
            "first": given(initial.first_of_channels(self.width)),
        }

    def advance(
        self, inputs: Tensor, state: RWKV4State, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, RWKV4State]:
        """Continue from `state`; see `SequenceLayer.advance`."""
        inputs, reset, mask = self.prepare(inputs, reset, mask)
        (before, now), newest = taps_of(inputs, state.inputs, reset, mask)
        key, value, receptance = (ops.cast(self.mixed(name, before, now), "float32") for name in MIXED)
        rate, first = (ops.cast(vector, "float32") for vector in (self.log_rate, self.first))
        log_decay = ops.broadcast_to(-ops.exp(rate), ops.shape(key))
        start = RunningAverage(state.average, state.log_weight)
        _, past, last = running_average(log_decay, key, value, start, reset, mask)
        # The weight of the current value beside the past, which is its sigmoid.
        share = ops.clip(first + key - past.log_weight, -80.0, 80.0)
        average = ops.sigmoid(-share) * past.average + ops.sigmoid(share) * value
        mixed = ops.cast(ops.sigmoid(receptance) * average, self.compute_dtype)
        return project(self.output_projection, mixed), RWKV4State(newest, last.average, last.log_weight)


class RWKV4ChannelState(NamedTuple):
    """The state of `RWKV4Channel`."""

    #: `(B, 1, D)`, compute dtype: the newest input.
    inputs: Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class RWKV4Channel(RWKVMixer):
    """Mix channels as RWKV-4 does: a squared MLP and a gate, which see the current input and the one before it.

        k_t, r_t = W (mu * x_t + (1 - mu) * x_{t-1}), each with its own W and mu
        y_t = sigmoid(r_t) * W_value max(k_t, 0)^2

    Args:
        expand: the width of k in units of D.
        layer: the index of the layer among those of its kind, which sets the initial values.
        num_layers: the number of such layers.

    State: `RWKV4ChannelState`. Call arguments, shapes, errors and `**kwargs`: see `keras_griffin.layers.Mixer`.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.mixers.RWKV4Channel()(np.ones((2, 5, 8), "float32")).shape)
        (2, 5, 8)

    Reference: Peng et al. 2023 (arXiv 2305.13048), section 3, equation 18; initial values of its authors' code.
    """

    state_type = RWKV4ChannelState

    def __init__(self, expand: int = 4, layer: int = 0, num_layers: int = 1, **kwargs: Unpack[LayerOptions]):
        super().__init__(layer, num_layers, **kwargs)
        self.expand = self.checked(COUNT, expand=expand)

    @classmethod
    def weights_of(cls, width: int, **arguments: Any) -> dict[str, Weight]:
        inner = cls.with_defaults(arguments).expand * width
        groups = ("inner_width", inner)
        return {
            **dense_weights("key", width, inner, 1, groups, bias=False),
            **dense_weights("value", inner, width, 0, groups, bias=False),
            "receptance/kernel": Weight((width, width), stored=(0, 1), layer="dense"),
            "mix_key": Weight((width,)),
            "mix_receptance": Weight((width,)),
        }

    @classmethod
    def state_of(cls, width: int, tokens: int, **others: Any) -> dict[str, StateSpec]:
        return {"inputs": StateSpec((1, width))}

    def initializers(self) -> dict[str, Callable]:
        zeros = keras.initializers.Zeros()
        # In this half of the block both mixtures start alike.
        mix = given(initial.mix_of_channels("key", self.layer, self.num_layers, self.width))
        kernels = {"key": initial.orthogonal(float(self.expand) ** 0.5), "value": zeros, "receptance": zeros}
        return {**{f"{name}/kernel": each for name, each in kernels.items()}, "mix_key": mix, "mix_receptance": mix}

    def advance(
        self, inputs: Tensor, state: RWKV4ChannelState, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, RWKV4ChannelState]:
        """Continue from `state`; see `SequenceLayer.advance`."""
        inputs, reset, mask = self.prepare(inputs, reset, mask)
        (before, now), newest = taps_of(inputs, state.inputs, reset, mask)
        key, receptance = (self.mixed(name, before, now) for name in ("key", "receptance"))
        outputs = ops.sigmoid(receptance) * project(self.value, ops.square(ops.relu(key)))
        return outputs, RWKV4ChannelState(newest)
