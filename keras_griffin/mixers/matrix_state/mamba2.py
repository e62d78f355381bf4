"""The Mamba-2 block."""

from collections.abc import Callable
from typing import Any, NamedTuple, Unpack

import keras
from keras import ops

from keras_griffin.checks import COUNT, POSITIVE
from keras_griffin.layers import StateSpec, Weight, dense_weights, project
from keras_griffin.layers.base.mixer import ExpandedMixer
from keras_griffin.layers.base.weights import within
from keras_griffin.layers.heads import merge_heads, number_of_heads, rms_normalised, split_heads
from keras_griffin.layers.initializers.state_space_initializer import HeadDynamics
from keras_griffin.layers.projection import projected
from keras_griffin.ops.gated_linear_attention import gated_linear_attention
from keras_griffin.shapes import ExpandedMixerOptions, Tensor

#: The projections that the convolution reads, in its order.
ENTERING = ("input_projection", "key", "query")


class Mamba2State(NamedTuple):
    """The state of `Mamba2`."""

    #: `(B, taps - 1, E + 2 G N)`, compute dtype: the newest inputs of the convolution, oldest first.
    inputs: Tensor
    #: `(B, E / H, N, H)`, float32: S after the last step.
    memory: Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class Mamba2(ExpandedMixer):
    """Mix along time and channels with a selective state space model whose state is a matrix for each head.

        [x_t; b_t; c_t] = silu(conv([W_x; W_b; W_c] u)_t)                E + G N + G N channels, of inputs u
        s_t = softplus(W_s u_t + b_s)                                    step, one for each head
        S_t = exp(s_t A) S_{t-1} + s_t b_t x_t^T,  A = -exp(log A)       N rows and H columns for each head
        y_t = S_t^T c_t + D x_t
        output_t = W_out norm(y_t * silu(W_gate u_t))

    Each head of x has a step, an A and a D; the E / (G H) heads of a group share a b and a c. norm is the root mean
    square norm of a group's channels, with a scale. The recurrence and the norm are in float32. Mamba-2's models have
    no MLP: `mlp_width=0`.

    Args:
        state_size: N, the rows of a head's state.
        num_heads: E / H; None for heads of 64 channels, but at least 4 heads.
        groups: G, the number of pairs of b and c.
        norm_epsilon: added to the mean square.
        **kwargs: `expand`, `conv_kernel_size` and `output_variance_scale`, as for `Mamba`; and those of every mixer.

    State: `Mamba2State`. Call arguments, shapes and errors: see `keras_griffin.layers.Mixer`.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.mixers.Mamba2()(np.ones((2, 5, 8), "float32")).shape)
        (2, 5, 8)

    Reference: Dao and Gu 2024 (arXiv 2405.21060), section 7; initial values of its authors' code.
    """

    state_type = Mamba2State
    projections = (*ENTERING, "gate", "step")

    def __init__(
        self,
        state_size: int = 128,
        num_heads: int | None = None,
        groups: int = 1,
        norm_epsilon: float = 1e-5,
        **kwargs: Unpack[ExpandedMixerOptions],
    ):
        super().__init__(**kwargs)
        self.state_size = self.checked(COUNT, state_size=state_size)
        self.num_heads = self.checked(COUNT.or_none(), num_heads=num_heads)
        self.groups = self.checked(COUNT, groups=groups)
        self.norm_epsilon = self.checked(POSITIVE, norm_epsilon=norm_epsilon)

    @classmethod
    def arguments_for_model(cls, config: Any) -> dict[str, Any]:
        return {"norm_epsilon": config.norm_epsilon, **super().arguments_for_model(config)}

    @classmethod
    def weights_of(cls, width: int, **arguments: Any) -> dict[str, Weight]:
        given = cls.with_defaults(arguments)
        inner, num_heads, selected = cls._sizes(width, given)
        heads, groups = ("num_heads", num_heads), ("groups", given.groups)
        return {
            **dense_weights("input_projection", width, inner, 1, heads, bias=False),
            **dense_weights("key", width, selected, 1, groups, bias=False, must_split=False),
            **dense_weights("query", width, selected, 1, groups, bias=False, must_split=False),
            **dense_weights("gate", width, inner, 1, heads, bias=False),
            **dense_weights("step", width, num_heads, 1, heads, bias=False),
            **dense_weights("output_projection", inner, width, 0, heads, bias=False),
            "conv_kernel": Weight((given.conv_kernel_size, inner + 2 * selected)),
            "conv_bias": Weight((inner + 2 * selected,)),
            "feedthrough": Weight((num_heads,), 0, heads),
            **within("dynamics", dict.fromkeys(("log_rates", "step_bias"), Weight((num_heads,), 0, heads))),
            "scale": Weight((inner,), 0, heads),
        }

    @classmethod
    def state_of(cls, width: int, tokens: int, **arguments: Any) -> dict[str, StateSpec]:
        given = cls.with_defaults(arguments)
        inner, num_heads, selected = cls._sizes(width, given)
        return {
            "inputs": StateSpec((given.conv_kernel_size - 1, inner + 2 * selected)),
            "memory": StateSpec((num_heads, given.state_size, inner // num_heads), "float32"),
        }

    @classmethod
    def _sizes(cls, width, given):
        """E, the number of heads, and G N."""
        inner = given.expand * width
        num_heads = number_of_heads(cls.__name__, given.num_heads, inner, 64)
        if num_heads % given.groups:
            raise ValueError(f"{cls.__name__}: groups must divide {num_heads}, the heads. Got {given.groups}.")
        return inner, num_heads, given.groups * given.state_size

    def initializers(self) -> dict[str, Callable]:
        return {
            **super().initializers(),
            "feedthrough": keras.initializers.Ones(),
            "scale": keras.initializers.Zeros(),
        }

    def build(self, inputs_shape):
        super().build(inputs_shape)
        _, num_heads, _ = self._sizes(self.width, self)
        self.dynamics = HeadDynamics(1.0, 16.0, name="dynamics", dtype="float32")
        self.dynamics.build((None, num_heads))

    def advance(
        self, inputs: Tensor, state: Mamba2State, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Mamba2State]:
        """Continue from `state`; see `SequenceLayer.advance`."""
        inputs, reset, mask = self.prepare(inputs, reset, mask)
        inner, num_heads, selected = self._sizes(self.width, self)
        entering = ops.concatenate([project(getattr(self, name), inputs) for name in ENTERING], axis=-1)
        mixed, newest = self.convolved(entering, state.inputs, reset, mask)
        x = ops.cast(split_heads(mixed[..., :inner], num_heads), "float32")
        key, query = (split_heads(part, self.groups) for part in (mixed[..., inner:-selected], mixed[..., -selected:]))
        steps, log_decay = self.dynamics.steps_and_log_decays(project(self.step, inputs))
        value = steps[..., None] * x
        outputs, memory = gated_linear_attention(query, key, value, log_decay, state.memory, reset=reset, mask=mask)
        scale, feedthrough = (ops.cast(weight, "float32") for weight in (self.scale, self.feedthrough))
        gated = merge_heads(outputs + feedthrough[:, None] * x) * ops.silu(*projected(inputs, self.gate))
        gated = merge_heads(rms_normalised(split_heads(gated, self.groups), self.norm_epsilon)) * (1.0 + scale)
        return project(self.output_projection, ops.cast(gated, self.compute_dtype)), Mamba2State(newest, memory)
