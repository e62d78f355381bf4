"""Training without logits that are whole in memory."""

import math

import keras
from keras import ops

from keras_griffin.models.shared_model import SharedModel
from keras_griffin.ops import linear_cross_entropy
from keras_griffin.shapes import Tensor


class LossInPieces(SharedModel):
    """A model that gives, in place of logits, the vectors `(B, T, D)` of which the embedding would make them.

    In `fit` and `evaluate` its loss is the cross-entropy of those logits, which are made for a few steps at a time:

        loss = sum_t w_t l_t / sum_t w_t        l_t of `keras_griffin.ops.linear_cross_entropy`

    Under a strategy of TensorFlow with several replicas it is the mean of each replica's, as Keras's own losses are.
    Beside `loss`, in nats for each token, the logs have `bits`, the same in bits: for a model of bytes, bits per byte.

    The arguments are those of `SharedModel`.

    Raises:
        ValueError: the embedding has LoRA or is quantised, so that its table is not one matrix.
    """

    def __init__(self, language_model, **kwargs):
        super().__init__(language_model, **kwargs)
        head = language_model.token_embedding
        if head.lora_enabled or head.quantization_mode is not None:
            how = "LoRA" if head.lora_enabled else head.quantization_mode
            raise ValueError(f"{type(self).__name__}: without logits the embedding must be plain. Got one with {how}.")
        self._bits = keras.metrics.Mean(name="bits")

    def compile(self, optimizer="rmsprop", loss=None, *, weighted_metrics=None, **kwargs):
        """Compile; see `keras.Model.compile`. The loss is not to be chosen, and no metric sees logits.

        Raises:
            ValueError: a loss is given, or a metric that reads predictions (as all do but `training.Tokens`).
        """
        given = {"loss": loss, **{name: kwargs.get(name) for name in ("metrics", "loss_weights")}}
        if any(getattr(metric, "reads_predictions", True) for metric in weighted_metrics or ()):
            given["weighted_metrics"] = weighted_metrics
        wrong = [name for name, value in given.items() if value is not None]
        if wrong:
            raise ValueError(
                "compile: a model without logits has its own loss and metric; for others, ask for one with logits. "
                f"Got {' and '.join(wrong)}."
            )
        super().compile(optimizer=optimizer, weighted_metrics=weighted_metrics, **kwargs)

    def losses_of(self, vectors: Tensor, targets: Tensor) -> Tensor:
        """The cross-entropy of each step in nats, `(B, T)` float32, of `(B, T, D)` and `(B, T)`."""
        head = self.language_model.token_embedding
        return linear_cross_entropy(vectors, ops.cast(head.embeddings, vectors.dtype), targets, soft_cap=head.soft_cap)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The mean cross-entropy in nats, over what has weight; see the class."""
        nats = self.losses_of(y_pred, y)
        weights = ops.ones_like(nats) if sample_weight is None else ops.cast(sample_weight, nats.dtype)
        # In one row: of several, Keras's metric would take the mean of means.
        self._bits.update_state(ops.reshape(ops.stop_gradient(nats), (-1,)) / math.log(2), ops.reshape(weights, (-1,)))
        return _MEAN(nats, nats, weights)


class _Mean(keras.losses.Loss):
    """The mean of losses that are there already, as Keras takes it of its own: 0 where nothing has weight."""

    def call(self, y_true, y_pred):
        """The losses."""
        return y_pred


#: A `Loss`, since under a strategy of TensorFlow Keras divides each replica's loss by their number, before the
#: gradients are added up and the log is multiplied again; it has no public name for that alone.
_MEAN = _Mean(name="nats", reduction="mean_with_sample_weight", dtype="float32")
