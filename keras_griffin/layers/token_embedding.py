"""Token embedding, and logits from the same table or from a second one."""

import math
from typing import Any

import keras
from keras import ops

from keras_griffin.checks import COUNT, FLAG, POSITIVE, checked
from keras_griffin.layers.base.initialization import random_initializer
from keras_griffin.layers.base.layout import with_layout
from keras_griffin.layers.normalization import NORM, normalization
from keras_griffin.layers.projection import project
from keras_griffin.ops.row_product import row_product
from keras_griffin.shapes import Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class TokenEmbedding(keras.layers.ReversibleEmbedding):
    """Look tokens up in a table, and score vectors against the same table, or a second one.

        embed:   x = scale * E[token], or norm(x)
        logits:  l = x E^T, or cap * tanh(l / cap) with a soft cap

    The product is computed in the compute dtype; the cap and the logits are float32.

    As a `keras.layers.ReversibleEmbedding`, it supports Keras's LoRA.

    Args:
        vocabulary_size: V.
        width: D.
        scale_by_sqrt_width: multiply the looked-up vectors by sqrt(D), rounded to bfloat16 as RecurrentGemma does.
        logits_soft_cap: the bound of the logits' magnitude, or None for no bound.
        tie_weights: whether the logits and the lookup share one table.
        norm: `"rms"` or `"layer"` for a norm of the looked-up vectors, or None for none.
        norm_epsilon: its epsilon.
        name, dtype, trainable, quantization_config: as for every Keras layer.

    Call arguments:
        inputs: `(B, T)` token ids, or `(B, T, D)` vectors with `reverse`.
        reverse: whether to compute logits.

    Input shape: `(B, T)`.

    Output shape: `(B, T, D)`; `(B, T, V)`, float32, with `reverse`.

    Raises:
        ValueError: an argument has a wrong type or value.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> embedding = keras_griffin.layers.TokenEmbedding(vocabulary_size=10, width=4)
        >>> vectors = embedding(np.array([[1, 2, 3]]))
        >>> tuple(embedding(vectors, reverse=True).shape)
        (1, 3, 10)

    Reference: De et al. 2024 (arXiv 2402.19427), section 2.1; Botev et al. 2024 (arXiv 2404.07839) for scale and cap.
    """

    def __init__(
        self,
        vocabulary_size: int,
        width: int,
        scale_by_sqrt_width: bool = False,
        logits_soft_cap: float | None = None,
        *,
        tie_weights: bool = True,
        norm: str | None = None,
        norm_epsilon: float = 1e-6,
        name: str | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        trainable: bool = True,
        quantization_config: Any = None,
    ):
        kind = type(self).__name__
        vocabulary_size = checked(kind, COUNT, vocabulary_size=vocabulary_size)
        width = checked(kind, COUNT, width=width)
        scale_by_sqrt_width = checked(kind, FLAG, scale_by_sqrt_width=scale_by_sqrt_width)
        logits_soft_cap = checked(kind, POSITIVE.or_none(), logits_soft_cap=logits_soft_cap)
        tie_weights = checked(kind, FLAG, tie_weights=tie_weights)
        norm = checked(kind, NORM.or_none(), norm=norm)
        norm_epsilon = checked(kind, POSITIVE, norm_epsilon=norm_epsilon)
        initializer = random_initializer(keras.initializers.RandomNormal(stddev=width**-0.5))
        of_table = {"tie_weights": tie_weights, "embeddings_initializer": initializer}
        of_layer = {"name": name, "dtype": dtype, "trainable": trainable, "quantization_config": quantization_config}
        super().__init__(vocabulary_size, width, **of_table, **of_layer)
        self.scale_by_sqrt_width = scale_by_sqrt_width
        self.soft_cap = logits_soft_cap
        # Rounded here, once: inside a traced call the number could not be read back.
        rounded = ops.cast(ops.cast(math.sqrt(width), "bfloat16"), "float32")
        self.scale = float(ops.convert_to_numpy(rounded)) if scale_by_sqrt_width else 1.0
        self.norm_kind, self.norm_epsilon = norm, norm_epsilon
        self.norm = None if norm is None else normalization(norm, norm_epsilon, name="norm", dtype=self.dtype_policy)

    def build(self, inputs_shape=None):
        super().build(inputs_shape)
        if self.norm is not None:
            self.norm.build((None, self.output_dim))

    @property
    def embeddings(self) -> Tensor:
        """The table, `(V, D)`, in the layout of `<path>/table` when it is used in a compiled function."""
        # A sharded table is gathered first: the vectors of a whole batch would be larger.
        return with_layout(super().embeddings, f"{self.path}/table")

    @property
    def output_table(self) -> Tensor:
        """The logits' table, `(V, D)`."""
        return self.embeddings if self.tie_weights else ops.transpose(self.reverse_embeddings)

    def call(self, inputs, reverse=False):
        """Embed tokens, or compute the logits of vectors."""
        if not reverse:
            outputs = self._looked_up(inputs)
            outputs = outputs * self.scale if self.scale_by_sqrt_width else outputs
            return outputs if self.norm is None else self.norm(outputs)
        logits = ops.cast(project(self._logits_of_rows, inputs), "float32")
        return logits if self.soft_cap is None else self.soft_cap * ops.tanh(logits / self.soft_cap)

    def _logits_of_rows(self, rows):
        """The products with the table, on PyTorch by an op that is fast for one row."""
        if keras.backend.backend() != "torch" or self.quantization_mode is not None:
            return super().call(rows, reverse=True)
        table = ops.transpose(self.embeddings) if self.tie_weights else self.reverse_embeddings
        return row_product(rows, ops.cast(table, rows.dtype))

    def _looked_up(self, token_ids):
        """The rows of ids. An id outside the table, including a negative one, gives an error or NaN, by backend."""
        token_ids = ops.cast(token_ids, "int32")
        # Keras would count negative ids from the table's end.
        looked_up = super().call(ops.where(token_ids < 0, self.input_dim, token_ids))
        if keras.backend.backend() != "tensorflow":
            return looked_up
        # It raises an error only on a CPU: on a GPU the row would be zeros, and XLA would use the last one.
        inside = ops.logical_and(token_ids >= 0, token_ids < self.input_dim)
        return ops.where(ops.expand_dims(inside, -1), looked_up, ops.full_like(looked_up, float("nan")))

    def compute_output_spec(self, inputs, reverse=False):
        """Shapes and dtypes of the outputs of `call`."""
        if reverse:
            return keras.KerasTensor((*inputs.shape[:-1], self.input_dim), "float32")
        return keras.KerasTensor((*inputs.shape, self.output_dim), self.compute_dtype)

    def get_config(self):
        """The constructor's arguments."""
        return {
            **keras.layers.Layer.get_config(self),
            "vocabulary_size": self.input_dim,
            "width": self.output_dim,
            "scale_by_sqrt_width": self.scale_by_sqrt_width,
            "logits_soft_cap": self.soft_cap,
            "tie_weights": self.tie_weights,
            "norm": self.norm_kind,
            "norm_epsilon": self.norm_epsilon,
        }
