"""Root mean square normalisation with a scale that is stored minus one."""

from typing import Unpack

import keras
from keras import ops

from keras_griffin.checks import POSITIVE
from keras_griffin.layers.base.configured import Configured
from keras_griffin.shapes import LayerOptions


@keras.saving.register_keras_serializable("keras_griffin")
class RMSNorm(Configured, keras.layers.Layer):
    """Divide each vector by its root mean square and scale its channels.

        y = x / sqrt(mean(x^2) + epsilon) * (1 + scale)

    The stored weight is the scale minus one, as in the released Griffin code, and starts at zero. Outputs are computed
    in float32 and returned in the compute dtype.

    Args:
        epsilon: added to the mean square.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    Input and output shape: `(..., D)`.

    Raises:
        ValueError: epsilon is not positive and finite.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> keras_griffin.layers.RMSNorm()(np.ones((2, 3, 8), "float32")).shape[-1]
        8

    Reference: De et al. 2024 (arXiv 2402.19427), section 2.1; Zhang and Sennrich 2019 (arXiv 1910.07467).
    """

    def __init__(self, epsilon: float = 1e-6, **kwargs: Unpack[LayerOptions]):
        super().__init__(**kwargs)
        self.epsilon = self.checked(POSITIVE, epsilon=epsilon)
        self.supports_masking = True

    def build(self, inputs_shape):
        """Create the scale, `(D,)`, zero."""
        self.scale = self.add_weight(shape=inputs_shape[-1:], initializer="zeros", name="scale", autocast=False)

    def call(self, inputs):
        """Normalise the last axis."""
        wide = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        scale = 1.0 + ops.cast(self.scale, wide.dtype)
        # As rows: for a batch of one, XLA on a CPU takes ten times as long to sum the scale's gradient over time alone.
        rows = ops.reshape(wide, (-1, inputs.shape[-1]))
        outputs = ops.reshape(ops.rms_normalization(rows, scale, axis=-1, epsilon=self.epsilon), ops.shape(inputs))
        return ops.cast(outputs, self.compute_dtype)

    def compute_output_shape(self, inputs_shape):
        return tuple(inputs_shape)
