"""Gated linear attention."""

from typing import Any, Unpack

import keras
from keras import ops

from keras_griffin.checks import COUNT, NOT_NEGATIVE, POSITIVE
from keras_griffin.layers import Weight, dense_weights, project
from keras_griffin.layers.heads import number_of_heads, rms_normalised, split_heads
from keras_griffin.layers.matrix_mixer import Heads, MatrixMixer
from keras_griffin.ops import gated_linear_attention
from keras_griffin.shapes import LayerOptions, Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class GatedLinearAttention(MatrixMixer):
    """Mix along time with gated linear attention (GLA): each channel of the keys has a decay that the input sets.

        q_t, k_t, v_t = W x_t, each its own, N heads, of H / 2 channels for keys and H = D / N for values
        g_t = sigmoid(W_2 W_1 x_t + b)^(1 / temperature)                 R numbers between W_1 and W_2
        S_t = diag(g_t) S_{t-1} + k_t v_t^T / sqrt(H / 2)
        y_t = W_out (norm(S_t^T q_t) * silu(W_gate x_t))

    The norm is the root mean square of each head, without weights. Only the decay has a bias.

    Args:
        num_heads: N; None for heads of 256 channels, but at least 4 heads.
        rank: R, of the map to the decays.
        temperature: the larger, the slower the decays.
        epsilon: added to the mean square; 0 makes the heads' scale irrelevant.
        output_variance_scale: variance of the last kernel, in units of 1 / fan-in.

    State: `MatrixState`, `(B, N, H / 2, H)` float32. Call arguments, shapes, errors and `**kwargs`: see
    `keras_griffin.layers.Mixer`.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.mixers.GatedLinearAttention()(np.ones((2, 5, 8), "float32")).shape)
        (2, 5, 8)

    Reference: Yang et al. 2024 (arXiv 2312.06635), section 4.4.
    """

    def __init__(
        self,
        num_heads: int | None = None,
        rank: int = 16,
        temperature: float = 16.0,
        epsilon: float = 1e-6,
        output_variance_scale: float = 1.0,
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(num_heads, output_variance_scale, **kwargs)
        self.rank = self.checked(COUNT, rank=rank)
        self.temperature = self.checked(POSITIVE, temperature=temperature)
        self.epsilon = self.checked(NOT_NEGATIVE, epsilon=epsilon)

    @classmethod
    def heads_of(cls, width: int, num_heads: int | None) -> Heads:
        count = number_of_heads(cls.__name__, num_heads, width, 256, multiple=2)
        return Heads(count, width // count // 2, width // count)

    @classmethod
    def weights_of(cls, width: int, **arguments: Any) -> dict[str, Weight]:
        given = cls.with_defaults(arguments)
        units = ("num_heads", cls.heads_of(width, given.num_heads).number)
        to_rank = Weight((width, given.rank), stored=(0, 1), layer="dense")
        of_decay = dense_weights("decay", given.rank, width // 2, 1, units)
        return super().weights_of(width, **arguments) | {"to_rank/kernel": to_rank} | of_decay

    def read(
        self, inputs: Tensor, query: Tensor, key: Tensor, value: Tensor, matrix: Tensor, **marks: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The heads after their norm."""
        decay = ops.cast(project(self.decay, project(self.to_rank, inputs)), "float32")
        log_decay = split_heads(ops.log_sigmoid(decay) / self.temperature, self.heads.number)
        key = key * self.heads.key**-0.5
        heads, matrix = gated_linear_attention(query, key, value, log_decay, matrix, **marks)
        return rms_normalised(heads, self.epsilon), matrix
