"""The mLSTM block of xLSTM."""

from collections.abc import Callable
from typing import Any, NamedTuple, Unpack

import keras
import numpy as np
from keras import ops

from keras_griffin.checks import COUNT, POSITIVE
from keras_griffin.layers import StateSpec, Weight, dense_weights, project
from keras_griffin.layers.base.initialization import given, seeded_when_called
from keras_griffin.layers.base.mixer import ExpandedMixer
from keras_griffin.layers.base.weights import block_weights
from keras_griffin.layers.heads import merge_heads, number_of_heads, rms_normalised, split_heads
from keras_griffin.layers.projection import projected
from keras_griffin.layers.running_average import log_shares
from keras_griffin.ops.gated_linear_attention import gated_linear_attention
from keras_griffin.ops.log_scan.log_numbers import NOTHING
from keras_griffin.shapes import ExpandedMixerOptions, Tensor

#: Beyond these, exp(-L) is 0, or so large that nothing is left of what it divides; its square is a float32 number.
BOUND = 40.0


class MLSTMState(NamedTuple):
    """The state of `MLSTM`."""

    #: `(B, taps - 1, E)`, compute dtype: the newest inputs of the convolution, oldest first.
    inputs: Tensor
    #: `(B, N, H, H + 1)`, float32: exp(-L) S, and exp(-L) n as the last column.
    memory: Tensor
    #: `(B, N)`, float32: L, the logarithm of the sum of the weights of all steps; -1e30 before the first.
    log_weight: Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class MLSTM(ExpandedMixer):
    """Mix along time and channels with an LSTM whose state is a matrix for each head, and whose input gate is exp.

        u_t = W_in x_t,  c_t = silu(conv(u)_t)                          E channels
        q_t = W_q c_t,  k_t = W_k c_t,  v_t = W_v u_t                   N heads of H channels
        i_t = W_i [q_t; k_t; v_t] + b_i                                 a number for each head
        f_t = sigmoid(W_f [q_t; k_t; v_t] + b_f)
        S_t = f_t S_{t-1} + exp(i_t) H^-1/2 k_t v_t^T                   a matrix for each head
        n_t = f_t n_{t-1} + exp(i_t) H^-1/2 k_t
        h_t = S_t^T q_t / max(|n_t . q_t|, 1)
        y_t = W_out ((norm(h_t) + skip * c_t) * silu(W_gate x_t))

    norm is a layer norm of each head, with a scale. The state is S and n over exp(L), the sum of the weights of all
    steps, L_t = log(exp(L_{t-1} + log f_t) + exp(i_t)), so no input gate overflows. The recurrence and the norm are in
    float32. W_q, W_k and W_v are block-diagonal. Models of it have no MLP: `mlp_width=0`.

    Args:
        num_heads: N; None for 4, or the next lower number that divides E.
        num_blocks: blocks of W_q, W_k and W_v; None for one for each head. The authors' code has blocks of 4 channels.
        norm_epsilon: added to the variance.
        **kwargs: `expand`, `conv_kernel_size` and `output_variance_scale`, as for `Mamba`; and those of every mixer.

    State: `MLSTMState`. Call arguments, shapes and errors: see `keras_griffin.layers.Mixer`.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.mixers.MLSTM()(np.ones((2, 5, 8), "float32")).shape)
        (2, 5, 8)

    Reference: Beck et al. 2024 (arXiv 2405.04517), equations 19 to 27 and figure 10; its authors' first gates.
    """

    state_type = MLSTMState
    projections = ("input_projection", "gate")

    def __init__(
        self,
        num_heads: int | None = None,
        num_blocks: int | None = None,
        norm_epsilon: float = 1e-5,
        **kwargs: Unpack[ExpandedMixerOptions],
    ):
        super().__init__(**kwargs)
        self.num_heads = self.checked(COUNT.or_none(), num_heads=num_heads)
        self.num_blocks = self.checked(COUNT.or_none(), num_blocks=num_blocks)
        self.norm_epsilon = self.checked(POSITIVE, norm_epsilon=norm_epsilon)

    @classmethod
    def weights_of(cls, width: int, **arguments: Any) -> dict[str, Weight]:
        given = cls.with_defaults(arguments)
        inner, num_heads = cls._sizes(width, given)
        heads, blocks = ("num_heads", num_heads), ("num_blocks", given.num_blocks or num_heads)
        of_heads = (block_weights(name, inner, inner, blocks) for name in ("query", "key", "value"))
        return {
            **dense_weights("input_projection", width, inner, 1, heads, bias=False),
            **dense_weights("gate", width, inner, 1, heads, bias=False),
            **{path: weight for each in of_heads for path, weight in each.items() if path.endswith("kernel")},
            **dense_weights("input_gate", 3 * inner, num_heads, 1, heads),
            **dense_weights("forget_gate", 3 * inner, num_heads, 1, heads),
            **dense_weights("output_projection", inner, width, 0, heads, bias=False),
            "conv_kernel": Weight((given.conv_kernel_size, inner), 1, heads),
            **dict.fromkeys(("conv_bias", "scale", "skip"), Weight((inner,), 0, heads)),
        }

    @classmethod
    def state_of(cls, width: int, tokens: int, **arguments: Any) -> dict[str, StateSpec]:
        given = cls.with_defaults(arguments)
        inner, num_heads = cls._sizes(width, given)
        return {
            "inputs": StateSpec((given.conv_kernel_size - 1, inner)),
            "memory": StateSpec((num_heads, inner // num_heads, inner // num_heads + 1), "float32"),
            "log_weight": StateSpec((num_heads,), "float32", NOTHING),
        }

    @classmethod
    def _sizes(cls, width, given):
        """E and N."""
        inner = given.expand * width
        return inner, number_of_heads(cls.__name__, given.num_heads, inner, inner)

    def initializers(self) -> dict[str, Callable]:
        return {
            **super().initializers(),
            **dict.fromkeys(("input_gate/kernel", "forget_gate/kernel", "scale"), keras.initializers.Zeros()),
            "input_gate/bias": seeded_when_called(keras.initializers.RandomNormal, stddev=0.1),
            "forget_gate/bias": given(np.linspace(3.0, 6.0, self._sizes(self.width, self)[1])),
            "skip": keras.initializers.Ones(),
        }

    def advance(
        self, inputs: Tensor, state: MLSTMState, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, MLSTMState]:
        """Continue from `state`; see `SequenceLayer.advance`."""
        inputs, reset, mask = self.prepare(inputs, reset, mask)
        _, num_heads = self._sizes(self.width, self)
        entering = project(self.input_projection, inputs)
        mixed, newest = self.convolved(entering, state.inputs, reset, mask)
        query, key, value = self.query(mixed), self.key(mixed), self.value(entering)
        of_all = ops.concatenate([query, key, value], axis=-1)
        enter, forget = projected(of_all, self.input_gate, self.forget_gate)
        (total, _, last), log_decay, share = log_shares(ops.log_sigmoid(forget), enter, state.log_weight, reset, mask)
        query, key, value = (split_heads(part, num_heads) for part in (query, key, value))
        value = ops.cast(value, "float32")
        value = ops.concatenate([value, ops.ones_like(value[..., :1])], axis=-1) * ops.exp(share)[..., None]
        key = ops.cast(key, "float32") * key.shape[-1] ** -0.5
        outputs, memory = gated_linear_attention(query, key, value, log_decay, state.memory, reset=reset, mask=mask)
        least = ops.exp(-ops.clip(total, -BOUND, BOUND))[..., None]
        hidden = outputs[..., :-1] / ops.maximum(ops.abs(outputs[..., -1:]), least)
        hidden = merge_heads(rms_normalised(hidden - ops.mean(hidden, axis=-1, keepdims=True), self.norm_epsilon))
        scale, skip = (ops.cast(weight, "float32") for weight in (self.scale, self.skip))
        hidden = hidden * (1.0 + scale) + skip * ops.cast(mixed, "float32")
        gated = ops.cast(hidden, self.compute_dtype) * ops.silu(project(self.gate, inputs))
        return project(self.output_projection, gated), MLSTMState(newest, memory, last)
