"""Induction heads: recall what followed a token when it came before."""

import numpy as np

from keras_griffin.checks import COUNT, checked, integer_from
from keras_griffin.tasks.seeds import Seed, generator
from keras_griffin.tasks.task_batch import TaskBatch


def induction_heads(batch_size: int, length: int = 256, *, vocabulary_size: int = 16, seed: Seed = 0) -> TaskBatch:
    """Random tokens with a special token s among them, and s again at the end; the answer is what followed s.

        token_ids   4 9 s 7 4 0 9 s       length 8
        targets     0 0 0 0 0 0 0 7
        weights     0 0 0 0 0 0 0 1

    The special token is s = V - 1. The others are uniform over 0 .. V - 2, and the place of the first s is uniform over
    0 .. T - 3. Train at one length, usually 256, and test at longer ones, where the answer stands further back.

    Args:
        batch_size: B, rows.
        length: T, at least 3.
        vocabulary_size: V, at least 3; a guess is right once in V - 1.
        seed: of the rows: an integer, or several, such as `(seed, epoch, batch)`; the same arguments give the same
            rows.

    Returns:
        A `TaskBatch` of `(B, T)`: token ids and targets int32, weights float32.

    Raises:
        ValueError: a number is not an integer, or is out of range.

    Examples:
        >>> from keras_griffin.tasks import induction_heads
        >>> batch = induction_heads(4, 8)
        >>> (batch.token_ids == 15).sum(axis=1).tolist()
        [2, 2, 2, 2]

    Reference: Olsson et al. 2022 (arXiv 2209.11895) for induction heads; Gu and Dao 2023 (arXiv 2312.00752), section
    4.1.2, for this task, trained at 256 and tested at up to 2^20.
    """
    owner = "induction_heads"
    batch_size = checked(owner, COUNT, batch_size=batch_size)
    length = checked(owner, integer_from(3), length=length)
    vocabulary_size = checked(owner, integer_from(3), vocabulary_size=vocabulary_size)
    rng = generator(owner, seed)
    token_ids = rng.integers(vocabulary_size - 1, size=(batch_size, length), dtype="int32")
    places, rows = rng.integers(length - 2, size=batch_size), np.arange(batch_size)
    token_ids[rows, places] = token_ids[:, -1] = vocabulary_size - 1
    targets, weights = np.zeros_like(token_ids), np.zeros(token_ids.shape, "float32")
    targets[:, -1] = token_ids[rows, places + 1]
    weights[:, -1] = 1
    return TaskBatch(token_ids, targets, weights)
