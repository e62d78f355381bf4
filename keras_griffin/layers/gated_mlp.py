"""The gated multi-layer perceptron (GeGLU)."""

from typing import Unpack

import keras

from keras_griffin.checks import COUNT, POSITIVE
from keras_griffin.layers.base.configured import Configured
from keras_griffin.layers.projection import project, projection
from keras_griffin.shapes import LayerOptions


@keras.saving.register_keras_serializable("keras_griffin")
class GatedMLP(Configured, keras.layers.Layer):
    """Expand, gate and contract each vector.

        y = W_down (gelu(W_gate x + b_gate) * (W_up x + b_up)) + b_down

    with the tanh form of gelu. The paper's hidden width is 3 D.

    Args:
        hidden_width: M, the width between the projections.
        output_variance_scale: the last kernel's variance is this over its fan-in; `2 / num_layers` in a deep model.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    Input and output shape: `(..., D)`.

    Raises:
        ValueError: an argument has a wrong type or value.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.layers.GatedMLP(hidden_width=24)(np.ones((2, 3, 8), "float32")).shape)
        (2, 3, 8)

    Reference: De et al. 2024 (arXiv 2402.19427), section 2.2; Shazeer 2020 (arXiv 2002.05202).
    """

    def __init__(self, hidden_width: int, output_variance_scale: float = 1.0, **kwargs: Unpack[LayerOptions]):
        super().__init__(**kwargs)
        self.hidden_width = self.checked(COUNT, hidden_width=hidden_width)
        self.output_variance_scale = self.checked(POSITIVE, output_variance_scale=output_variance_scale)
        self.supports_masking = True

    def build(self, inputs_shape):
        width = inputs_shape[-1]
        self.gate = projection(self.hidden_width, name="gate", dtype=self.dtype_policy)
        self.up = projection(self.hidden_width, name="up", dtype=self.dtype_policy)
        self.down = projection(width, variance_scale=self.output_variance_scale, name="down", dtype=self.dtype_policy)
        self.gate.build((None, width))
        self.up.build((None, width))
        self.down.build((None, self.hidden_width))

    def call(self, inputs):
        """Apply the MLP to each vector."""
        gate = keras.activations.gelu(project(self.gate, inputs), approximate=True)
        return project(self.down, gate * project(self.up, inputs))

    def compute_output_shape(self, inputs_shape):
        return tuple(inputs_shape)
