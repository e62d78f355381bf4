"""Time as a test says it passes."""

import keras


class Clock(keras.callbacks.Callback):
    """Stands for the module `time`: the first batch takes 100 s, each other 1 s, a batch of validation 10 s."""

    now = 0.0

    def perf_counter(self):
        return self.now

    def on_train_batch_begin(self, batch, logs=None):
        self.now += 1.0 if self.now else 100.0

    def on_test_batch_begin(self, batch, logs=None):
        self.now += 10.0
