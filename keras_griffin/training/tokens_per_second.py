"""Training throughput in tokens per second."""

import time

import keras

from keras_griffin.training.metrics import Tokens


class TokensPerSecond(keras.callbacks.Callback):
    """Add `tokens_per_second` to the logs of each epoch.

    Targets with weight count as tokens; padding, and other targets of weight 0, do not. The time is that of the
    training steps, including the waits for their data, without validation. The first step of a `fit`, which compiles,
    is excluded with its tokens (except in an epoch of one step). The count is read from the device once in an epoch, so
    no step waits for it.

    Compile the model with a `Tokens` in `weighted_metrics`, and put the callback before a `CSVLogger`.

    Raises:
        ValueError: in `fit`, the model was compiled without a `Tokens`.

    Examples:
        >>> import numpy as np
        >>> from keras_griffin.models import Griffin, GriffinConfig
        >>> from keras_griffin.training import Tokens, TokensPerSecond
        >>> model = Griffin(GriffinConfig(vocabulary_size=256, width=32, num_layers=3, num_heads=2, window=8))
        >>> model.compile("adam", model.loss, weighted_metrics=[Tokens()])
        >>> tokens = np.ones((4, 8), "int32")
        >>> speed = TokensPerSecond()
        >>> history = model.fit(tokens, tokens, batch_size=2, callbacks=[speed], verbose=0).history
        >>> history["tokens"], history["tokens_per_second"][0] > 0
        ([32.0], True)
    """

    def on_train_begin(self, logs=None):
        """Start counting steps."""
        self._steps = 0

    def on_epoch_begin(self, epoch, logs=None):
        """Start the clock."""
        self._left_out = 0.0
        self._ended: float | None = None
        self._began = time.perf_counter()

    def on_train_batch_begin(self, batch, logs=None):
        """Restart the clock after the first step."""
        self._steps += 1
        if self._steps == 2 and batch > 0:
            self._left_out = self._tokens()
            self._began = time.perf_counter()

    def on_test_begin(self, logs=None):
        """Stop the clock before the validation."""
        self._stop()

    def on_epoch_end(self, epoch, logs=None):
        """Add the tokens per second to the logs."""
        ended = self._stop() if self._ended is None else self._ended
        logs["tokens_per_second"] = self._counted / (ended - self._began)

    def _stop(self) -> float:
        # Reading the count waits for the last step.
        self._counted = self._tokens() - self._left_out
        self._ended = time.perf_counter()
        return self._ended

    def _tokens(self) -> float:
        """The tokens of the epoch so far."""
        # On JAX, reading `self.model` updates its metrics' variables. A metric that owns others has them in a list.
        metrics = [metric for owner in self.model.metrics for metric in getattr(owner, "metrics", [owner])]
        for metric in metrics:
            if isinstance(metric, Tokens):
                return float(keras.ops.convert_to_numpy(metric.result()))
        raise ValueError(
            "TokensPerSecond: the model must be compiled with weighted_metrics=[Tokens()]. "
            f"Got the metrics {', '.join(metric.name for metric in metrics)}."
        )
