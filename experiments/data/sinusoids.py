"""Sums of sinusoids as tokens: what will the level be a few steps from now?"""

import numpy as np

from keras_griffin.tasks import TaskBatch

#: Sinusoids in a sum, and the range of their periods in steps, uniform in its logarithm.
NUMBER = 3
PERIODS = (8.0, 40.0)


def sinusoids(rows: int, length: int, levels: int, ahead: int, seed: int) -> TaskBatch:
    """Sums of three sinusoids with random periods, phases and amplitudes, to be continued from the middle of a row on.

        s(t) = sum_k A_k sin(2 pi t / P_k + phi_k)        sum_k A_k = 1

    A token is the level of s(t), and the answer that of s(t + ahead).

    Args:
        rows: B.
        length: T.
        levels: V, equally spaced from -1 to 1.
        ahead: steps.
        seed: of the rows.
    """
    rng = np.random.default_rng(seed)
    shape = (rows, NUMBER, 1)
    amplitudes = rng.uniform(0.2, 1.0, size=shape)
    amplitudes /= amplitudes.sum(axis=1, keepdims=True)
    periods = np.exp(rng.uniform(*np.log(PERIODS), size=shape))
    phases = rng.uniform(0, 2 * np.pi, size=shape)
    sums = (amplitudes * np.sin(2 * np.pi * np.arange(length + ahead) / periods + phases)).sum(axis=1)
    tokens = np.rint((sums + 1) / 2 * (levels - 1)).astype("int32")
    weights = np.zeros((rows, length), "float32")
    weights[:, length // 2 :] = 1
    return TaskBatch(tokens[:, :length], np.where(weights > 0, tokens[:, ahead:], 0).astype("int32"), weights)
