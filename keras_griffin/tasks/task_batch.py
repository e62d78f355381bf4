"""The arrays of a synthetic task."""

from typing import NamedTuple

import numpy as np


class TaskBatch(NamedTuple):
    """Rows of a task in the order of `model.train_on_batch(*batch)`: inputs, targets and sample weights."""

    #: `(B, T)` int32, from 0 to V - 1.
    token_ids: np.ndarray
    #: `(B, T)` int32: the answer to predict at a step, and 0 where none is due.
    targets: np.ndarray
    #: `(B, T)` float32: 1 where an answer is due, else 0.
    weights: np.ndarray
