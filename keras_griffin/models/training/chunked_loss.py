"""Training without the full logits in memory."""

import math
from typing import Any

import keras
from keras import ops

from keras_griffin.models.parameters import processes_of, with_whole_weights
from keras_griffin.models.training.first_batch import BatchRules
from keras_griffin.models.training.next_token_loss import for_each_target, weighted_mean
from keras_griffin.models.training.shared_model import SharedModel
from keras_griffin.ops import linear_cross_entropy
from keras_griffin.shapes import Tensor


class ChunkedLoss(SharedModel):
    """A model that returns, in place of logits, the vectors `(B, T, D)` from which the embedding would compute them.

    In `fit` and `evaluate` its loss is the cross-entropy of those logits, computed for a few steps at a time:

        loss = sum_t w_t l_t / sum_t w_t        l_t from `keras_griffin.ops.linear_cross_entropy`

    Under a strategy of TensorFlow with several replicas it is the mean of the replicas' losses, as with Keras's own
    losses. Besides `loss`, in nats per token, the logs have `bits`, the same in bits: for a byte model, bits per byte.

    Args:
        language_model: a `LanguageModel`.
        **kwargs: `name`.

    Raises:
        ValueError: the embedding has LoRA or is quantised, so that its table is not one matrix.
    """

    def __init__(self, language_model: keras.Model, **kwargs: Any):
        super().__init__(language_model, **kwargs)
        head = language_model.token_embedding
        if head.lora_enabled or head.quantization_mode is not None:
            how = "LoRA" if head.lora_enabled else head.quantization_mode
            raise ValueError(
                f"{type(self).__name__}: the embedding must have neither LoRA nor quantised weights. Got {how}."
            )
        self._bits = keras.metrics.Mean(name="bits")

    def compile(self, optimizer="rmsprop", loss=None, *, weighted_metrics=None, **kwargs):
        """Compile; see `keras.Model.compile`. A loss, or a metric that reads predictions, is an error."""
        given = {"loss": loss, **{name: kwargs.get(name) for name in ("metrics", "loss_weights")}}
        if any(getattr(metric, "reads_predictions", True) for metric in weighted_metrics or ()):
            given["weighted_metrics"] = weighted_metrics
        wrong = [name for name, value in given.items() if value is not None]
        if wrong:
            raise ValueError(
                "compile: a model without logits has its own loss and metric; for others, use a model with logits. "
                f"Got {' and '.join(wrong)}."
            )
        super().compile(optimizer=optimizer, weighted_metrics=weighted_metrics, **kwargs)

    def losses_of(self, vectors: Tensor, targets: Tensor) -> Tensor:
        """The cross-entropy of each step in nats, `(B, T)` float32, from `(B, T, D)` and `(B, T)`."""
        head = self.language_model.token_embedding

        def compute():
            table = ops.cast(head.output_table, vectors.dtype)
            return linear_cross_entropy(vectors, table, targets, soft_cap=head.soft_cap)

        return with_whole_weights(self, compute)

    def compute_output_spec(self, inputs, **kwargs):
        """Shape and dtype of the outputs of `call`, vectors."""
        shape = super().compute_output_spec(inputs, **kwargs).shape[:-1]
        return keras.KerasTensor((*shape, self.language_model.config.width), self.dtype_policy.compute_dtype)

    def batch_rules(self) -> BatchRules:
        """The model's rules for its batches."""
        return super().batch_rules()._replace(wants_targets=True, targets_are_ids=True)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The weighted mean of the cross-entropy in nats; see the class."""
        targets = ops.convert_to_tensor(y)
        weights = ops.ones(ops.shape(targets), "float32")
        if sample_weight is not None:
            weights = for_each_target(sample_weight, targets)
            # A target without weight may be anything; multiplying by zero would leave NaN.
            targets = ops.where(weights != 0, targets, ops.zeros_like(targets))
        nats = self.losses_of(y_pred, targets)
        loss, weight = weighted_mean(nats, weights), ops.sum(weights)
        bits = ops.sum(ops.where(weights != 0, ops.stop_gradient(nats), 0.0) * weights) / math.log(2)
        processes = processes_of(self)
        if processes is not None:
            loss = processes.batch.loss_of_all(loss, weight)
            bits, weight = processes.batch.mean_of_all(ops.stack([bits, weight]))
        self._bits.update_state(ops.divide_no_nan(bits, weight), weight)
        return loss
