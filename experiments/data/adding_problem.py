"""The adding problem: the sum of the two numbers in a sequence that are marked."""

import numpy as np

from experiments.models.sequence_models import Part

#: The mean squared error of the best constant, 1.
BASELINE = 1 / 6


def adding_problem(rows: int, length: int, seed: int) -> Part:
    """Numbers from 0 to 1, one marked in each half, and the sum of these two.

    Args:
        rows: N.
        length: T.
        seed: of the numbers and the places.

    Returns:
        Features `(N, T, 2)`, the number and the mark of each step, and targets `(N, 1)`.

    Reference: Hochreiter and Schmidhuber 1997, section 5.4, with the places and numbers of Arjovsky et al. 2016 (arXiv
    1511.06464).
    """
    generator = np.random.default_rng(seed)
    features = np.zeros((rows, length, 2), "float32")
    features[..., 0] = generator.random((rows, length))
    half = length // 2
    for places in (generator.integers(half, size=rows), generator.integers(half, length, size=rows)):
        features[np.arange(rows), places, 1] = 1.0
    targets = features.prod(axis=-1).sum(axis=1, keepdims=True)
    return Part(features, targets, np.ones(rows, "float32"))
