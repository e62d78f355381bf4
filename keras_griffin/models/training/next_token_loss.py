"""The next-token loss, which is NaN for an invalid target."""

import keras
from keras import ops

from keras_griffin.shapes import Tensor

#: Integer dtypes that may not hold the vocabulary's size.
_NARROW = {"bool", "int8", "int16", "uint8", "uint16"}


def next_token_losses(targets: Tensor, logits: Tensor) -> Tensor:
    """The cross-entropy `(B, T)` in nats of targets `(B, T)` and logits `(B, T, V)`; NaN for a target outside of V."""
    # Backends disagree about such a target: JAX gives 0, PyTorch raises an error, or gives 0 for -100. It must not look
    # like a perfect prediction. It contributes no gradient.
    if len(targets.shape) == len(logits.shape):
        targets = ops.squeeze(targets, axis=-1)
    if keras.backend.standardize_dtype(targets.dtype) in _NARROW:
        targets = ops.cast(targets, "int32")
    inside = ops.logical_and(targets >= 0, targets < logits.shape[-1])
    known = ops.cast(ops.where(inside, targets, ops.zeros_like(targets)), "int32")
    logits = ops.convert_to_tensor(logits)
    if keras.backend.backend() == "torch":
        from keras_griffin.models.training.torch_cross_entropy import cross_entropy

        nats = cross_entropy(logits, known)
    else:
        nats = keras.losses.sparse_categorical_crossentropy(known, logits, from_logits=True)
    return ops.where(inside, nats, ops.full_like(nats, float("nan")))


def for_each_target(sample_weight: Tensor, targets: Tensor) -> Tensor:
    """Weights `(B, T)` or `(B,)` as float32, with the axes of the targets `(B, T)`."""
    weights = ops.cast(sample_weight, "float32")
    while len(weights.shape) < len(targets.shape):
        weights = ops.expand_dims(weights, -1)
    return ops.broadcast_to(weights, ops.shape(targets))


def weighted_mean(losses: Tensor, weights: Tensor | None, reduction: str = "mean_with_sample_weight") -> Tensor:
    """The weighted mean of losses, `(B, T)` as their weights; a loss of weight 0 may be anything, even NaN."""
    if weights is not None:
        losses = ops.where(weights != 0, losses, ops.zeros_like(losses))
    return _Reduction(name="nats", reduction=reduction, dtype="float32")(losses, losses, weights)


class _Reduction(keras.losses.Loss):
    """Keras's reduction of losses that are already computed: 0 if nothing has weight."""

    # A `Loss`, because under a strategy of TensorFlow Keras divides each replica's loss by the number of replicas,
    # before gradients are summed and the logged loss is multiplied again; there is no public API for that alone.
    def call(self, y_true, y_pred):
        """The losses."""
        return y_pred


# It has the name of Keras's loss, so that a run that started with that one can resume with this one.
@keras.saving.register_keras_serializable("keras_griffin")
class SparseCategoricalCrossentropy(keras.losses.SparseCategoricalCrossentropy):
    """Keras's loss of that name, for logits: NaN for a target outside the vocabulary, unless its weight is 0.

    Where the weight is 0, target and prediction may be anything. Weights of rows, `(B,)`, apply to each target.
    """

    # Keras's default reduction would count padding as predictions without loss.
    def __init__(self, reduction="mean_with_sample_weight", name="sparse_categorical_crossentropy"):
        super().__init__(from_logits=True, reduction=reduction, name=name, dtype="float32")

    def __call__(self, y_true, y_pred, sample_weight=None):
        """The loss, reduced; see the class."""
        logits = ops.cast(y_pred, "float32")
        targets = ops.convert_to_tensor(y_true)
        losses = next_token_losses(targets, logits)
        weights = None if sample_weight is None else for_each_target(sample_weight, losses)
        return weighted_mean(losses, weights, self.reduction)

    @classmethod
    def from_config(cls, config):
        """The same loss; the other entries of Keras's config are fixed."""
        return cls(config["reduction"], config["name"])
