"""How many tokens a second a model learns from."""

import time

import keras

from keras_griffin.training.metrics import Tokens


class TokensPerSecond(keras.callbacks.Callback):
    """Add `tokens_per_second` to the logs of each epoch.

    What counts as a token is a target with weight: padding, and what else has a weight of 0, is left out. The time is
    that of the training steps, with the waits for their data; validation is left out, and so is the first step of a
    `fit`, which compiles, with its tokens (but in an epoch of one step there is no other).

    Nothing is read from the device before an epoch ends, but once after the first step. Callbacks that look at every
    batch make Keras wait for each on JAX and TensorFlow; this one does not.

    The model counts: compile it with a `Tokens` among the `weighted_metrics`. Put the callback before a `CSVLogger`.

    Raises:
        ValueError: in `fit`, the model does not count.

    Examples:
        >>> import numpy as np
        >>> from keras_griffin.models import Griffin, GriffinConfig
        >>> from keras_griffin.training import Tokens, TokensPerSecond
        >>> model = Griffin(GriffinConfig(vocabulary_size=256, width=32, num_layers=3, num_heads=2, window=8))
        >>> model.compile("adam", model.loss, weighted_metrics=[Tokens()])
        >>> tokens = np.ones((4, 8), "int32")
        >>> history = model.fit(tokens, tokens, batch_size=2, callbacks=[TokensPerSecond()], verbose=0).history
        >>> history["tokens"], history["tokens_per_second"][0] > 0
        ([32.0], True)
    """

    def __init__(self):
        super().__init__()
        self._is_fitting = False

    def on_train_begin(self, logs=None):
        """Count steps from here."""
        self._is_fitting = True
        self._steps = 0

    def on_train_end(self, logs=None):
        """Look at no evaluation that follows."""
        self._is_fitting = False

    def on_epoch_begin(self, epoch, logs=None):
        """Start the clock."""
        self._left_out = 0.0
        self._ended: float | None = None
        self._began = time.perf_counter()

    def on_train_batch_begin(self, batch, logs=None):
        """Start the clock again when the first step is done."""
        self._steps += 1
        if self._steps == 2 and batch > 0:
            self._left_out = self._tokens()
            self._began = time.perf_counter()

    def on_test_begin(self, logs=None):
        """Stop the clock before the validation."""
        if self._is_fitting:
            self._stop()

    def on_epoch_end(self, epoch, logs=None):
        """Divide."""
        ended = self._stop() if self._ended is None else self._ended
        logs["tokens_per_second"] = self._counted / (ended - self._began)

    def _stop(self) -> float:
        # Reading the count waits for the last step.
        self._counted = self._tokens() - self._left_out
        self._ended = time.perf_counter()
        return self._ended

    def _tokens(self) -> float:
        """The tokens of the epoch so far."""
        # On JAX, asking for the model brings its metrics' variables up to date. Their owner has its own in a list.
        metrics = [metric for owner in self.model.metrics for metric in getattr(owner, "metrics", [owner])]
        for metric in metrics:
            if isinstance(metric, Tokens):
                return float(keras.ops.convert_to_numpy(metric.result()))
        raise ValueError(
            "TokensPerSecond: the model must be compiled with weighted_metrics=[Tokens()]. "
            f"Got the metrics {', '.join(metric.name for metric in metrics)}."
        )
