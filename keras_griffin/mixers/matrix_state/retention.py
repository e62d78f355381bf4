"""Multi-scale retention, the mixing of RetNet."""

from collections.abc import Callable
from typing import Unpack

import keras
import numpy as np
from keras import ops

from keras_griffin.checks import NOT_NEGATIVE
from keras_griffin.layers.base.initialization import scaled, seeded_when_called
from keras_griffin.layers.heads import number_of_heads, rms_normalised
from keras_griffin.layers.matrix_mixer import Heads, MatrixMixer
from keras_griffin.layers.normalization import NORM
from keras_griffin.ops import gated_linear_attention
from keras_griffin.shapes import LayerOptions, Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class Retention(MatrixMixer):
    """Mix along time with multi-scale retention, as RetNet does: each head has a decay and all have rotary positions.

        q_t, k_t, v_t = W x_t, each its own, N heads, of H = D / N channels for keys and 2 H for values
        S_t = gamma R(-theta) S_{t-1} + k_t v_t^T / sqrt(H)
        y_t = W_out (norm(S_t^T q_t) * silu(W_gate x_t))
        gamma = 1 - 2^(-5 - n) for head n = 0 .. N - 1
        theta = 1 .. 1e-4, a geometric sequence, for the pairs of channels (j, j + H / 2)

    So query t and key s meet as gamma^(t - s) q_t^T R((s - t) theta) k_s, as if each were turned by its position times
    theta. R turns the state in place of the positions: it counts no steps, and a stream of any length keeps its
    precision. The norm is of each head, without weights. There are no biases.

    Args:
        num_heads: N; None for heads of 256 channels, but at least 4 heads.
        head_norm: `"rms"`, or `"layer"`, which also subtracts the mean.
        epsilon: added to the mean square; 0 makes the heads' scale irrelevant.
        output_variance_scale: variance of the last kernel, in units of 1 / fan-in.

    State: `MatrixState`, `(B, N, H, 2 H)` float32. Call arguments, shapes, errors and `**kwargs`: see
    `keras_griffin.layers.Mixer`.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.mixers.Retention()(np.ones((2, 5, 8), "float32")).shape)
        (2, 5, 8)

    Reference: Sun et al. 2023 (arXiv 2307.08621), section 2; angles, norm and initial values of its authors' code.
    """

    def __init__(
        self,
        num_heads: int | None = None,
        head_norm: str = "rms",
        epsilon: float = 1e-6,
        # Xavier's with a gain of 1/2, from 2 D to D channels.
        output_variance_scale: float = 1.0 / 3.0,
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(num_heads, output_variance_scale, **kwargs)
        self.head_norm = self.checked(NORM, head_norm=head_norm)
        self.epsilon = self.checked(NOT_NEGATIVE, epsilon=epsilon)

    @classmethod
    def heads_of(cls, width: int, num_heads: int | None) -> Heads:
        count = number_of_heads(cls.__name__, num_heads, width, 256, multiple=2)
        return Heads(count, width // count, 2 * width // count)

    def initializers(self) -> dict[str, Callable]:
        xavier = seeded_when_called(keras.initializers.VarianceScaling, 2.0**-5, "fan_avg", "uniform")
        return {
            **{f"{name}/kernel": xavier for name in ("query", "key", "value", "gate")},
            "output_projection/kernel": scaled(self.output_variance_scale, "uniform"),
        }

    def read(
        self, inputs: Tensor, query: Tensor, key: Tensor, value: Tensor, matrix: Tensor, **marks: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The heads after their norm."""
        count, channels, _ = self.heads
        log_decay = np.log1p(-(2.0 ** (-5.0 - np.arange(count))))
        angles = -(10000.0 ** -np.linspace(0.0, 1.0, channels // 2))
        log_decay, angles = (ops.convert_to_tensor(each, "float32") for each in (log_decay, angles))
        key = key * channels**-0.5
        heads, matrix = gated_linear_attention(query, key, value, log_decay, matrix, angles=angles, **marks)
        if self.head_norm == "layer":
            heads = heads - ops.mean(heads, axis=-1, keepdims=True)
        return rms_normalised(heads, self.epsilon), matrix
