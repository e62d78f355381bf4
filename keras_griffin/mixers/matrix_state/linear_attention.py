"""Linear attention."""

from typing import Any, Unpack

import keras
from keras import ops

from keras_griffin.checks import FLAG, NOT_NEGATIVE
from keras_griffin.layers import StateSpec
from keras_griffin.layers.heads import number_of_heads
from keras_griffin.layers.matrix_mixer import Heads, MatrixMixer
from keras_griffin.ops import gated_linear_attention
from keras_griffin.shapes import LayerOptions, Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class LinearAttention(MatrixMixer):
    """Mix along time with linear attention: a kernel of features takes the place of softmax's exponential.

        q_t, k_t, v_t = W x_t, each its own, N heads of H = D / N
        S_t = S_{t-1} + phi(k_t) v_t^T,  z_t = z_{t-1} + phi(k_t)        phi(x) = elu(x) + 1
        o_t = S_t^T phi(q_t) / (z_t . phi(q_t) + epsilon)
        y_t = W_out o_t

    There are no positions, no scale and no biases. z is one more column of S, for a value that is always one.

    Args:
        num_heads: N; None for heads of 64 channels, but at least 4 heads.
        normalize: whether to divide by z; if not, o_t = S_t^T phi(q_t).
        epsilon: added to the divisor.
        output_variance_scale: variance of the last kernel, in units of 1 / fan-in.

    State: `MatrixState`, `(B, N, H, H + 1)` float32. Call arguments, shapes, errors and `**kwargs`: see
    `keras_griffin.layers.Mixer`.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.mixers.LinearAttention()(np.ones((2, 5, 8), "float32")).shape)
        (2, 5, 8)

    Reference: Katharopoulos et al. 2020 (arXiv 2006.16236), section 3.
    """

    gated = False

    def __init__(
        self,
        num_heads: int | None = None,
        normalize: bool = True,
        epsilon: float = 1e-6,
        output_variance_scale: float = 1.0,
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(num_heads, output_variance_scale, **kwargs)
        self.normalize = self.checked(FLAG, normalize=normalize)
        self.epsilon = self.checked(NOT_NEGATIVE, epsilon=epsilon)

    @classmethod
    def heads_of(cls, width: int, num_heads: int | None) -> Heads:
        count = number_of_heads(cls.__name__, num_heads, width, 64)
        return Heads(count, width // count, width // count)

    @classmethod
    def state_of(cls, width: int, tokens: int, **arguments: Any) -> dict[str, StateSpec]:
        given = cls.with_defaults(arguments)
        count, key, value = cls.heads_of(width, given.num_heads)
        return {"matrix": StateSpec((count, key, value + given.normalize), "float32")}

    def read(
        self, inputs: Tensor, query: Tensor, key: Tensor, value: Tensor, matrix: Tensor, **marks: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The average of the values, weighted by phi(q_t) . phi(k_i)."""
        if not self.normalize:
            return gated_linear_attention(_features(query), _features(key), value, initial_state=matrix, **marks)
        value = ops.concatenate([value, ops.ones_like(value[..., :1])], axis=-1)
        sums, matrix = gated_linear_attention(_features(query), _features(key), value, initial_state=matrix, **marks)
        return sums[..., :-1] / (sums[..., -1:] + self.epsilon), matrix


def _features(x):
    """elu(x) + 1, positive however small x is."""
    return ops.where(x > 0.0, x + 1.0, ops.exp(ops.minimum(x, 0.0)))
