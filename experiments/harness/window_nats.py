"""The loss on held-out windows of a text, the same bytes for models of every length of training."""

from collections.abc import Iterator

import numpy as np

from experiments.data.long_text import held_out_windows
from experiments.harness.by_group import grouped
from experiments.harness.run import Run
from experiments.harness.training import Test, cross_entropy
from keras_griffin.models import LanguageModel


def held_out_nats(run: Run, model: LanguageModel) -> Iterator[Test]:
    """The nats of held-out windows, which are read in rows of the length of training.

    Models that train at any length predict the same bytes. Each sees those before a byte in the byte's own row alone,
    as in training.

    Args:
        run: its data have the `length` of a row, and `windows` held-out windows of `window_length` targets, a multiple
            of it.
        model: of the run.
    """
    length = run.data["length"]
    windows = held_out_windows(run.data["windows"], run.data["window_length"] + 1)
    rows = rows_within(windows, length)
    # Batches of training, so that a model needs no other program for them.
    parts = (rows[start : start + run.batch_size] for start in range(0, len(rows), run.batch_size))
    losses = [cross_entropy(model.predict_on_batch(part[:, :-1]), part[:, 1:]) for part in parts]
    yield from grouped(run.setting, "nats", np.concatenate(losses).reshape(len(windows), -1).mean(axis=1))


def rows_within(windows: np.ndarray, length: int) -> np.ndarray:
    """Windows cut into rows, in their order: `(W * n, length + 1)` of `(W, n * length + 1)`.

    A row begins with the byte that ends the row before it. So every byte of a window but the first is once a target.
    """
    starts = np.arange(0, windows.shape[1] - 1, length)
    return windows[:, starts[:, None] + np.arange(length + 1)].reshape(-1, length + 1)
