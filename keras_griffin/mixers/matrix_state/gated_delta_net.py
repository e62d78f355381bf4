"""Gated DeltaNet."""

from collections.abc import Callable
from typing import Any, NamedTuple, Unpack

import keras
from keras import ops

from keras_griffin.checks import COUNT, FLAG
from keras_griffin.layers import StateSpec, Weight, dense_weights, project
from keras_griffin.layers.base.initialization import seeded_when_called
from keras_griffin.layers.base.mixer import ScaledMixer
from keras_griffin.layers.base.weights import within
from keras_griffin.layers.heads import l2_normalised, merge_heads, rms_normalised, split_heads
from keras_griffin.layers.initializers.state_space_initializer import HeadDynamics
from keras_griffin.layers.projection import projected
from keras_griffin.ops import causal_conv, delta_rule
from keras_griffin.shapes import LayerOptions, Tensor

EPSILON = 1e-6


class GatedDeltaNetState(NamedTuple):
    """The state of `GatedDeltaNet`."""

    #: `(B, taps - 1, 2 G H + N P)`, compute dtype: the newest inputs of the convolution, oldest first.
    inputs: Tensor
    #: `(B, N, H, P)`, float32: S after the last step.
    memory: Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class GatedDeltaNet(ScaledMixer):
    """Mix along time with a memory of values under keys, which each step corrects and decays.

        q, k, v = silu(conv([W_q; W_k; W_v] x))                 G heads of H channels, G of H, N of P
        b = sigmoid(W_b x),  g = exp(-exp(log A) softplus(W_s x + c))           for each of the N heads
        S_t = g_t S_{t-1} + b_t k_t (v_t - g_t S_{t-1}^T k_t)^T,  o_t = S_t^T q_t / sqrt(H)
        y = W_out (norm(o) * silu(W_z x))

    q and k are divided by their norms in each head, and each head of o by its root mean square, with a scale for each
    channel that the heads share. `keras_griffin.ops.delta_rule` runs the recurrence, in float32.

    Args:
        num_heads: G, the heads of queries and keys.
        num_value_heads: N, a multiple of G; None for G.
        head_dim: H; None for 3/4 D / G, rounded down.
        value_head_dim: P; None for 2 G H / N, rounded down.
        conv_kernel_size: taps of the convolution.
        forget_gate: whether the memory decays; without it, this is DeltaNet with an output gate.
        output_variance_scale: variance of the last kernel, in units of 1 / fan-in.

    State: `GatedDeltaNetState`. Call arguments, shapes, errors and `**kwargs`: see `keras_griffin.layers.Mixer`.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.mixers.GatedDeltaNet(num_heads=2)(np.ones((2, 5, 8), "float32")).shape)
        (2, 5, 8)

    Reference: Yang et al. 2024 (arXiv 2412.06464), sections 3 and 4; DeltaNet, Yang et al. 2024 (arXiv 2406.06484).
    """

    state_type = GatedDeltaNetState

    def __init__(
        self,
        num_heads: int,
        num_value_heads: int | None = None,
        head_dim: int | None = None,
        value_head_dim: int | None = None,
        conv_kernel_size: int = 4,
        forget_gate: bool = True,
        output_variance_scale: float = 1.0,
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(output_variance_scale, **kwargs)
        self.num_heads = self.checked(COUNT, num_heads=num_heads)
        self.num_value_heads = self.checked(COUNT.or_none(), num_value_heads=num_value_heads)
        self.head_dim = self.checked(COUNT.or_none(), head_dim=head_dim)
        self.value_head_dim = self.checked(COUNT.or_none(), value_head_dim=value_head_dim)
        self.conv_kernel_size = self.checked(COUNT, conv_kernel_size=conv_kernel_size)
        self.forget_gate = self.checked(FLAG, forget_gate=forget_gate)
        if num_value_heads is not None and num_value_heads % num_heads:
            got = f"Got {num_value_heads} and {num_heads}."
            raise ValueError(f"GatedDeltaNet: num_value_heads must be a multiple of num_heads. {got}")

    @classmethod
    def arguments_for_model(cls, config: Any) -> dict[str, Any]:
        return {**super().arguments_for_model(config), "num_heads": config.num_heads}

    @classmethod
    def _sizes(cls, width, given):
        """N, H and P."""
        heads = given.num_value_heads or given.num_heads
        channels = given.head_dim or max(3 * width // (4 * given.num_heads), 1)
        return heads, channels, given.value_head_dim or max(2 * given.num_heads * channels // heads, 1)

    @classmethod
    def weights_of(cls, width: int, **arguments: Any) -> dict[str, Weight]:
        given = cls.with_defaults(arguments)
        num_heads, channels, values = cls._sizes(width, given)
        keys, inner = given.num_heads * channels, num_heads * values
        few, heads = ("num_heads", given.num_heads), ("num_value_heads", num_heads)
        units = {**dict.fromkeys(("query", "key"), (keys, few)), **dict.fromkeys(("value", "gate"), (inner, heads))}
        units |= dict.fromkeys(("rate", "step") if given.forget_gate else ("rate",), (num_heads, heads))
        weights = dense_weights("output_projection", inner, width, 0, heads, bias=False)
        weights |= {"conv_kernel": Weight((given.conv_kernel_size, 2 * keys + inner)), "norm_scale": Weight((values,))}
        for name, (outputs, groups) in units.items():
            weights |= dense_weights(name, width, outputs, 1, groups, bias=False)
        dynamics = dict.fromkeys(("log_rates", "step_bias"), Weight((num_heads,), 0, heads))
        return weights | within("dynamics", dynamics) if given.forget_gate else weights

    @classmethod
    def state_of(cls, width: int, tokens: int, **arguments: Any) -> dict[str, StateSpec]:
        given = cls.with_defaults(arguments)
        num_heads, channels, values = cls._sizes(width, given)
        inputs = given.conv_kernel_size - 1, 2 * given.num_heads * channels + num_heads * values
        return {"inputs": StateSpec(inputs), "memory": StateSpec((num_heads, channels, values), "float32")}

    def initializers(self) -> dict[str, Callable]:
        limit = self.conv_kernel_size**-0.5
        of_conv = seeded_when_called(keras.initializers.RandomUniform, -limit, limit)
        return {**super().initializers(), "conv_kernel": of_conv, "norm_scale": keras.initializers.Ones()}

    def build(self, inputs_shape):
        super().build(inputs_shape)
        if self.forget_gate:
            self.dynamics = HeadDynamics(0.0, 16.0, name="dynamics", dtype="float32")
            self.dynamics.build((None, self._sizes(self.width, self)[0]))

    def advance(
        self, inputs: Tensor, state: GatedDeltaNetState, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, GatedDeltaNetState]:
        """Continue from `state`; see `SequenceLayer.advance`."""
        inputs, reset, mask = self.prepare(inputs, reset, mask)
        num_heads, channels, _ = self._sizes(self.width, self)
        entering = ops.concatenate([project(layer, inputs) for layer in (self.query, self.key, self.value)], axis=-1)
        kernel, keys = ops.cast(self.conv_kernel, self.compute_dtype), self.num_heads * channels
        mixed, newest = causal_conv(entering, kernel, None, state.inputs, reset=reset, mask=mask)
        mixed = ops.silu(ops.cast(mixed, "float32"))
        parts = mixed[..., :keys], mixed[..., keys : 2 * keys]
        query, key = (l2_normalised(split_heads(x, self.num_heads), EPSILON) for x in parts)
        value = split_heads(mixed[..., 2 * keys :], num_heads)
        gate, rates = projected(inputs, self.gate, self.rate)
        log_decay = self.dynamics.steps_and_log_decays(project(self.step, inputs))[1] if self.forget_gate else None
        arguments = channels**-0.5 * query, key, value, log_decay, ops.sigmoid(rates), state.memory
        outputs, memory = delta_rule(*arguments, reset=reset, mask=mask)
        outputs = rms_normalised(outputs, EPSILON) * ops.cast(self.norm_scale, "float32")
        outputs = ops.cast(merge_heads(outputs) * ops.silu(gate), self.compute_dtype)
        return project(self.output_projection, outputs), GatedDeltaNetState(newest, memory)
