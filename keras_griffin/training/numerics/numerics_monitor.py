"""Monitor the numerics of a run: the decays of the recurrences, and the origin of NaN."""

import contextlib
import math
import sys
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_griffin.models.training.optimizer import AdamW
from keras_griffin.training.data.rest_of_epoch import RestOfEpoch
from keras_griffin.training.numerics.decay_report import DecayReport
from keras_griffin.training.numerics.layer_walk import LayerWalk, language_model_layers, walk_layers


class NumericsMonitor(keras.callbacks.Callback):
    """Log how slowly the recurrences forget, and name the first layer whose output is not finite.

    Every `every` steps, and at the end of each epoch, the model runs over a batch, outside its compiled step. The logs
    of an epoch get

        slow_channels       share of channels whose decay is above 0.999 at more than half of their steps
        slow_steps          share of all steps of all recurrent channels with such a decay
        bounded_sqrt_hits   share with 1 - a_t^2 <= 2.5e-7, where the derivative of its root is bounded
        dropped             batches so far whose gradients an `AdamW` has dropped

    the first three as means over the layers; `reports` has them by layer and channel. Put the callback before a
    `CSVLogger`.

    If the loss, a weight, or a layer's output on the batch is not finite, the run ends with one sentence that names the
    variable or the layer, the step, and the magnitude of the layer's input. With a dataset, all its batches since the
    last check are searched. One batch with gradients that are not finite makes all weights NaN, which hides the cause;
    `AdamW(drop_nonfinite=True)`, the choice of `default_optimizer`, keeps the weights. The losses are the same without
    the callback, and between two checks nothing is computed or read from the device.

    Args:
        batches: the training data: a dataset whose batches depend on their index (and `epoch`), passed to `fit` with
            `shuffle=False`; or one batch as for `fit`, token ids alone or with targets and weights. Of a dataset, the
            first batch is measured. In a `ResumableRun` it is the run's dataset; if a `RestOfEpoch` is passed to `fit`,
            it is the same `RestOfEpoch`.
        every: steps between two checks within an epoch; None for one check at the end of each epoch.
        threshold: the decay above which a step is slow.
        raise_error: raise when something is not finite; otherwise print the message to stderr and set `stop_training`,
            which finishes the current step.

    Attributes:
        reports: list of `DecayReport`, of the latest check, from the first block to the last.
        failure: the message, or None.
        first_batch: the batch of `batches` with which the current epoch began; a `ResumableRun` sets it.

    Raises:
        ValueError: `every` is below 1, or the model of the `fit` is not one of this package.
        FloatingPointError: something is not finite.

    Examples:
        >>> import numpy as np
        >>> from keras_griffin.models import Griffin, GriffinConfig
        >>> from keras_griffin.training import NumericsMonitor
        >>> model = Griffin(GriffinConfig(vocabulary_size=256, width=32, num_layers=3, num_heads=2, window=8))
        >>> tokens = np.ones((4, 8), "int32")
        >>> monitor = NumericsMonitor(tokens)
        >>> logs = model.fit(tokens, tokens, callbacks=[monitor], verbose=0).history
        >>> logs["bounded_sqrt_hits"], monitor.reports[0].layer
        ([0.0], 'block_0/mixer/rg_lru')

    Reference: De et al. 2024 (arXiv 2402.19427), equations 3 and 4; Botev et al. 2024 (arXiv 2404.07839) for the bound.
    """

    def __init__(self, batches: Any, every: int | None = 100, threshold: float = 0.999, raise_error: bool = True):
        super().__init__()
        if every is not None and every < 1:
            raise ValueError(f"NumericsMonitor: every must be at least 1, or None. Got {every}.")
        self.batches = batches
        self.every = every
        self.threshold = threshold
        self.raise_error = raise_error
        self.reports: list[DecayReport] = []
        self.failure: str | None = None
        self.first_batch = 0

    def on_train_begin(self, logs=None):
        """Check that the model has the layers."""
        language_model_layers(self.model)
        self.failure = None
        self.first_batch = 0
        self._stride = self.model.steps_per_execution

    def on_epoch_begin(self, epoch, logs=None):
        """Start counting steps, from `first_batch` in a resumed epoch."""
        self._epoch = epoch
        self._steps = self._looked = self.first_batch
        self._data_epoch = None

    def on_train_batch_begin(self, batch, logs=None):
        """Check the previous steps, every `every` of them."""
        if batch == 0:
            self._data_epoch = getattr(self.batches, "epoch", None)
        steps = self.first_batch + batch
        # Not at a batch's end, where Keras would wait for each batch on JAX and TensorFlow.
        if self.every is not None and steps - self._looked >= self.every:
            self._look(steps)
        self._steps = steps + self._stride

    def on_epoch_end(self, epoch, logs=None):
        """Check the rest of the epoch, and add to the logs."""
        if self.failure is None:
            # With `steps_per_execution`, the last execution may have had fewer batches.
            last = getattr(self.batches, "num_batches", None) or self._steps
            self._look(min(self._steps, last), logs)
        logs.update(self._logs())

    def _logs(self) -> dict[str, float]:
        logs = {}
        for name in ("slow_channels", "slow_steps", "bounded_sqrt_hits") if self.reports else ():
            logs[name] = float(np.mean([getattr(report, name) for report in self.reports]))
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        if isinstance(optimizer, AdamW) and optimizer.drop_nonfinite:
            logs["dropped"] = float(optimizer.dropped)
        return logs

    def _look(self, steps: int, logs=None):
        """Measure, and end the run if something is not finite after `steps` steps of the epoch."""
        walk = self._walk(_batch(self.batches))
        self.reports = walk.decays
        # After an epoch it is read from the logs, as the metrics may be of a validation.
        metrics = self.model.get_metrics_result() if logs is None else logs
        loss = float(ops.convert_to_numpy(metrics.get("loss", 0.0)))
        nonfinite = _nonfinite_variables(self.model)
        if not math.isfinite(loss) or nonfinite or walk.first_nonfinite:
            first, last = (_skipped(self.batches) + step for step in (self._looked + 1, steps))
            since = f"steps {first} to {last}" if last > first else f"step {last}"
            when = f"NumericsMonitor: not finite in {since} of epoch {self._epoch + 1}, loss {loss:.4g}"
            self.failure = f"{when}: {self._diagnosis(walk, nonfinite, steps)}."
            if self.raise_error:
                raise FloatingPointError(self.failure)
            print(self.failure, file=sys.stderr)
            self.model.stop_training = True
        self._looked = steps

    def _diagnosis(self, walk: LayerWalk, nonfinite: dict[str, int], steps: int) -> str:
        variables = self.model.trainable_variables
        if len(nonfinite) == len(variables):
            return (
                f"all {len(variables)} variables have values that are not finite, as after one update with such "
                "gradients; AdamW(drop_nonfinite=True) keeps the weights, so that the layer can be found"
            )
        if nonfinite:
            path, count = next(iter(nonfinite.items()))
            others = f", and {len(nonfinite) - 1} variables after it" if len(nonfinite) > 1 else ""
            return f"the first variable that is not finite is {path}, in {count} values{others}"
        where = "on the batch checked"
        if isinstance(self.batches, keras.utils.PyDataset):
            found = self._search(range(self._looked, steps))
            walk, where = (walk, where) if found is None else found
        if first := walk.first_nonfinite:
            return (
                f"the first layer whose output is not finite is {first.layer}, {where}, in {first.nonfinite} values; "
                f"the largest magnitude of its input is {first.largest_input:.3g}"
            )
        return (
            "all variables are finite, and so are the outputs of all layers on the batches checked: check the targets, "
            "the weights, and the other batches"
        )

    def _search(self, indices) -> tuple[LayerWalk, str] | None:
        """The walk over the first bad batch, and its place: a batch that is bad by itself shows up in no other."""
        with _in_epoch(self.batches, self._data_epoch):
            for index in indices:
                walk = self._walk(_batch(self.batches, index))
                if walk.first_nonfinite:
                    return walk, f"on batch {_skipped(self.batches) + index} of the data"
        return None

    def _walk(self, inputs: tuple) -> LayerWalk:
        token_ids, segment_ids = inputs
        return walk_layers(self.model, token_ids, segment_ids, threshold=self.threshold)


def _batch(batches, index: int = 0) -> tuple:
    """The token ids, and the segment ids or None, of a batch or of a batch of a dataset."""
    batch = batches[index] if isinstance(batches, keras.utils.PyDataset) else batches
    inputs = batch[0] if isinstance(batch, tuple) else batch
    if isinstance(inputs, Mapping):
        return inputs["token_ids"], inputs.get("segment_ids")
    return inputs, None


def _skipped(batches) -> int:
    """How many batches of an epoch come before a `RestOfEpoch`; otherwise 0."""
    return batches.start if isinstance(batches, RestOfEpoch) else 0


@contextlib.contextmanager
def _in_epoch(batches, epoch: int | None):
    """Inside the `with` block, a dataset is set to an epoch; at the end of one it is already at the next."""
    if epoch is None:
        yield
        return
    before, batches.epoch = batches.epoch, epoch
    try:
        yield
    finally:
        batches.epoch = before


def _nonfinite_variables(model) -> dict[str, int]:
    """For each variable with values that are not finite, their number, in the order of the layers."""
    variables = model.trainable_variables
    counts = [ops.sum(ops.cast(ops.logical_not(ops.isfinite(v.value)), "int32")) for v in variables]
    # One read from the device for all.
    counts = ops.convert_to_numpy(ops.stack(counts))
    return {v.path: int(count) for v, count in zip(variables, counts, strict=True) if count}
