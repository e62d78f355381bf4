"""Scikit-learn's handwritten digits, pixel by pixel: 8 x 8 pixels of 17 grey levels, then the digit."""

import functools

import numpy as np

from experiments.data.extra import package
from experiments.harness.training import TESTING, TRAINING, VALIDATION
from keras_griffin.tasks import TaskBatch

#: Token ids: the grey levels, then the ten digits.
GREYS, VOCABULARY_SIZE = 17, 27
LENGTH = 64
#: Images for validation and for the tests, each; the others are to train on.
HELD_OUT = 320


def digits_batch(rows: int, seed: int) -> TaskBatch:
    """Images whose digit is to be named after the last pixel: B `rows`, T 64.

    For the seeds of training they are drawn from its part; those of validation and of the tests, counted up by one for
    each batch, go through their parts in order.

    Args:
        rows: B.
        seed: of the images.
    """
    images, labels = digits()
    if seed >= TRAINING:
        chosen = np.random.default_rng(seed).integers(2 * HELD_OUT, len(images), size=rows)
    else:
        first, part = (TESTING, HELD_OUT) if seed >= TESTING else (VALIDATION, 0)
        chosen = part + ((seed - first) * rows + np.arange(rows)) % HELD_OUT
    targets, weights = np.zeros((rows, LENGTH), "int32"), np.zeros((rows, LENGTH), "float32")
    targets[:, -1] = GREYS + labels[chosen]
    weights[:, -1] = 1
    return TaskBatch(images[chosen], targets, weights)


@functools.cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """All images in a random order, which is always the same, `(1797, 64)`, and their digits, `(1797,)`; both int32.

    Raises:
        SystemExit: scikit-learn is not installed.
    """
    found = package("sklearn.datasets", "scikit-learn").load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    return found.data[order].astype("int32"), found.target[order].astype("int32")
