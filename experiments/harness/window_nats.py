"""The loss on held-out windows of a text, the same bytes for models of every length of training."""

import numpy as np

from experiments.data.long_text import held_out_windows
from experiments.harness.run import Run
from experiments.harness.training import cross_entropy
from keras_griffin.models import LanguageModel


def nats_of_windows(run: Run, model: LanguageModel) -> np.ndarray:
    """The mean nats of held-out windows, which are read in rows of the length of training: `(W,)`.

    Models that train at any length predict the same bytes. Each sees those before a byte in the byte's own row alone,
    as in training.

    Args:
        run: its data have the `length` of a row, and `windows` held-out windows of `window_length` targets, a multiple
            of it.
        model: of the run.
    """
    windows = held_out_windows(run.data["windows"], run.data["window_length"] + 1)
    rows = rows_within(windows, run.data["length"])
    return _nats(model, rows, run.batch_size).reshape(len(windows), -1).mean(axis=1)


def gain_of_far_bytes(run: Run, model: LanguageModel) -> np.ndarray:
    """What the last quarter of each row gains from the row's first half: nats of the same bytes, `(W,)`.

    Args:
        run: as for `nats_of_windows`, like `model`; the length is a multiple of four.
        model: of the run.
    """
    length = run.data["length"]
    windows = held_out_windows(run.data["windows"], run.data["window_length"] + 1)
    rows = rows_within(windows, length)
    near, all_bytes = (
        _nats(model, rows[:, start:], run.batch_size * length // (length - start))[:, -length // 4 :]
        for start in (length // 2, 0)
    )
    return (near - all_bytes).reshape(len(windows), -1).mean(axis=1)


def _nats(model, rows, at_once):
    """Of each byte but a row's first, `(B, T - 1)`; in batches of one size, so that a model needs one program."""
    parts = (rows[start : start + at_once] for start in range(0, len(rows), at_once))
    return np.concatenate([cross_entropy(model.predict_on_batch(part[:, :-1]), part[:, 1:]) for part in parts])


def rows_within(windows: np.ndarray, length: int) -> np.ndarray:
    """Windows cut into rows, in their order: `(W * n, length + 1)` of `(W, n * length + 1)`.

    A row begins with the byte that ends the row before it. So every byte of a window but the first is once a target.
    """
    starts = np.arange(0, windows.shape[1] - 1, length)
    return windows[:, starts[:, None] + np.arange(length + 1)].reshape(-1, length + 1)
