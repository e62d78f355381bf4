"""Metrics: bits per byte, rows without a mistake, and the number of tokens."""

import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_griffin.models.training.next_token_loss import for_each_target, next_token_losses
from keras_griffin.ops.shared.arguments import shape_fits
from keras_griffin.tokenizers import Tokenizer

#: One float32 counts up to this; on each overflow another one grows by one.
_CARRY = 2.0**20


@keras.saving.register_keras_serializable("keras_griffin")
class BitsPerByte(keras.metrics.Metric):
    r"""The bits per byte that an arithmetic coder would need with the model's predictions.

        sum_t w_t log2(1 / p(target_t)) / sum_t w_t n(target_t)

    with n the bytes of a token, 1 by default, which gives the mean bits per target. The weights w are the sample
    weights, if any, so pass the metric to `compile` in `weighted_metrics`. A target outside the vocabulary makes it
    NaN, unless its weight is 0. Both sums run over the whole epoch, unlike in Keras's own means, so the result depends
    neither on padding nor on the batch size.

    Args:
        name: the name in the logs.
        dtype: of the accumulation; float32 by default.
        token_bytes: n, if tokens are not bytes: `(V,)` integers, as returned by `token_byte_counts(tokenizer)`, or one
            number, the mean over a similar text.

    Raises:
        ValueError: `token_bytes` is neither, or negative.

    Examples:
        >>> import math
        >>> import numpy as np
        >>> from keras_griffin.training.metrics import BitsPerByte
        >>> metric = BitsPerByte()
        >>> metric.update_state(np.zeros((2, 5), "int32"), np.zeros((2, 5, 256), "float32"))
        >>> f"{float(metric.result()):.3f}"
        '8.000'
    """

    def __init__(
        self,
        name: str = "bits_per_byte",
        dtype: str | keras.DTypePolicy | None = None,
        token_bytes: float | Sequence[int] | np.ndarray = 1.0,
    ):
        super().__init__(name=name, dtype=dtype)
        self.token_bytes = np.asarray(token_bytes)
        are_numbers = self.token_bytes.dtype.kind in "iuf" and self.token_bytes.ndim <= 1 and self.token_bytes.size > 0
        if not are_numbers or not np.isfinite(self.token_bytes).all() or self.token_bytes.min() < 0:
            raise ValueError(
                f"BitsPerByte: token_bytes must be a number, or one for each token, none below 0. Got {token_bytes!r}."
            )
        self.bits = self.add_variable((), "zeros", name="bits")
        self.bytes = self.add_variable((), "zeros", name="bytes")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Count targets `(B, T)` under the logits `(B, T, V)`, weighted by `(B, T)` or `(B,)`."""
        targets = ops.convert_to_tensor(y_true)
        nats = ops.cast(next_token_losses(targets, y_pred), "float32")
        written = ops.convert_to_tensor(self.token_bytes.astype("float32"))
        if self.token_bytes.ndim:
            # A target outside the vocabulary has no number of bytes; its bits are NaN, and so is the sum.
            targets = ops.cast(targets, "int32")
            written = ops.take(written, ops.clip(targets, 0, len(self.token_bytes) - 1))
            nats = ops.where(targets < len(self.token_bytes), nats, ops.full_like(nats, float("nan")))
        else:
            written = ops.broadcast_to(written, ops.shape(nats))
        weights = ops.ones_like(nats) if sample_weight is None else for_each_target(sample_weight, nats)
        # 0 * infinity is NaN, so targets without weight are masked.
        bits = ops.where(weights > 0, weights * nats / math.log(2), 0.0)
        self.bits.assign_add(ops.cast(ops.sum(bits), self.bits.dtype))
        self.bytes.assign_add(ops.cast(ops.sum(weights * written), self.bytes.dtype))

    def result(self):
        """The bits per byte so far; 0 before the first."""
        return _ratio(self.bits.value, self.bytes.value)

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "token_bytes": self.token_bytes.tolist()}


@keras.saving.register_keras_serializable("keras_griffin")
class Tokens(keras.metrics.Metric):
    """The number of targets: all, or with sample weights those of a weight above 0.

    Pass it to `compile` in `weighted_metrics`. It counts on the device, exactly up to 2^44 tokens per epoch;
    `TokensPerSecond` divides by the time.

    Args:
        name: the name in the logs.
        dtype: of the result; float32 by default.

    Examples:
        >>> import numpy as np
        >>> from keras_griffin.training import Tokens
        >>> metric = Tokens()
        >>> weights = np.array([[0.0, 0.5, 2.0, 0.0]])
        >>> metric.update_state(np.zeros((1, 4), "int32"), None, sample_weight=weights)
        >>> int(metric.result())
        2
    """

    #: Lets a model without logits be compiled with it.
    reads_predictions = False

    def __init__(self, name: str = "tokens", dtype: str | keras.DTypePolicy | None = None):
        super().__init__(name=name, dtype=dtype)
        self.units = self.add_variable((), "zeros", "float32", name="units")
        self.carries = self.add_variable((), "zeros", "float32", name="carries")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Count targets `(B, T)`, weighted by `(B, T)` or `(B,)`."""
        counted = ops.ones_like(ops.cast(y_true, "float32"))
        if sample_weight is not None:
            counted = counted * ops.cast(for_each_target(sample_weight, counted) > 0, "float32")
        units = self.units + ops.sum(counted)
        carries = ops.floor(units / _CARRY)
        self.units.assign(units - carries * _CARRY)
        self.carries.assign_add(carries)

    def result(self):
        """The count so far."""
        return ops.cast(self.carries * _CARRY + self.units, self.dtype)


@keras.saving.register_keras_serializable("keras_griffin")
class RowAccuracy(keras.metrics.Metric):
    """The share of rows whose answers are all right.

    An answer is due where the sample weight is above 0, or everywhere without weights, so pass the metric to `compile`
    in `weighted_metrics`. A row without an answer is not counted, and an answer from logits with a NaN is wrong.
    `keras.metrics.SparseCategoricalAccuracy` in `weighted_metrics` is the share of right answers.

    Args:
        name: the name in the logs.
        dtype: of the accumulation; float32 by default.

    Raises:
        ValueError: in `update_state`, the targets are not `(B, T)`, or the logits not `(B, T, V)`.

    Examples:
        >>> import numpy as np
        >>> from keras_griffin.tasks import selective_copying
        >>> from keras_griffin.training import RowAccuracy
        >>> token_ids, targets, weights = selective_copying(4, 8, 2)
        >>> metric = RowAccuracy()
        >>> metric.update_state(targets, np.eye(16)[targets], sample_weight=weights)
        >>> float(metric.result())
        1.0
    """

    def __init__(self, name: str = "row_accuracy", dtype: str | keras.DTypePolicy | None = None):
        super().__init__(name=name, dtype=dtype)
        self.right = self.add_variable((), "zeros", name="right")
        self.rows = self.add_variable((), "zeros", name="rows")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Count rows of targets `(B, T)` under logits `(B, T, V)`, with the answers weighted by `(B, T)` or `(B,)`."""
        targets, logits = ops.cast(y_true, "int32"), ops.convert_to_tensor(y_pred)
        if len(targets.shape) != 2 or len(logits.shape) != 3 or not shape_fits(targets, tuple(logits.shape[:2])):
            raise ValueError(
                f"RowAccuracy: targets must have shape (B, T), and logits (B, T, V). Got {tuple(targets.shape)} and "
                f"{tuple(logits.shape)}."
            )
        weights = ops.ones_like(targets) if sample_weight is None else for_each_target(sample_weight, targets)
        due = weights > 0
        hits = ops.cast(ops.argmax(logits, axis=-1), "int32") == targets
        # The place of a NaN, or the first, would be an answer too.
        hits = ops.logical_and(hits, ops.logical_not(ops.any(ops.isnan(logits), axis=-1)))
        right = ops.all(ops.logical_or(hits, ops.logical_not(due)), axis=-1)
        counted = ops.any(due, axis=-1)
        self.right.assign_add(ops.sum(ops.cast(ops.logical_and(right, counted), self.right.dtype)))
        self.rows.assign_add(ops.sum(ops.cast(counted, self.rows.dtype)))

    def result(self):
        """The share so far; 0 before the first row."""
        return _ratio(self.right.value, self.rows.value)


def _ratio(total, count):
    """Their ratio; the total before the first."""
    return total / ops.where(count > 0, count, ops.ones_like(count))


def token_byte_counts(tokenizer: Tokenizer) -> np.ndarray:
    """How many bytes each token of a tokenizer writes, for `BitsPerByte`.

    A token that begins with the space before a word counts that space. If a tokenizer omits it at the start of a text,
    the first token counts one byte too many.

    Args:
        tokenizer: see `keras_griffin.tokenizers`.

    Returns:
        `(V,)` int32; 0 for special tokens.

    Examples:
        >>> from keras_griffin.tokenizers import ByteTokenizer
        >>> from keras_griffin.training import token_byte_counts
        >>> token_byte_counts(ByteTokenizer()).sum().item()
        256
    """
    counts = [len(tokenizer.token_bytes(token_id)) for token_id in range(tokenizer.vocabulary_size)]
    return np.array(counts, "int32")
