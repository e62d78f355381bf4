"""Selective copying: remember a few tokens that stand among noise."""

import numpy as np

from keras_griffin.checks import COUNT, checked, integer_from
from keras_griffin.tasks.seeds import Seed, generator
from keras_griffin.tasks.task_batch import TaskBatch


def selective_copying(
    batch_size: int, length: int = 1024, num_tokens: int = 16, *, vocabulary_size: int = 16, seed: Seed = 0
) -> TaskBatch:
    """Data tokens at random places among noise; then a marker for each, to be answered by the data in order.

        token_ids   0 0 7 0 2 0 0 7 | m m m       length 8, num_tokens 3
        targets     0 0 0 0 0 0 0 0 | 7 2 7
        weights     0 0 0 0 0 0 0 0 | 1 1 1

    Token 0 is noise, and m = V - 1 is the marker. The data tokens are uniform over 1 .. V - 2 and may repeat; their
    places are a uniform subset of the first `length`. As the gaps between them vary, a time-invariant filter does not
    solve the task: a model must choose what it remembers.

    Args:
        batch_size: B, rows.
        length: steps of noise and data, before the markers.
        num_tokens: data tokens, and so the markers; at most `length`.
        vocabulary_size: V, at least 3.
        seed: of the rows: an integer, or several, such as `(seed, epoch, batch)`; the same arguments give the same
            rows.

    Returns:
        A `TaskBatch` of `(B, T)` with T = length + num_tokens: token ids and targets int32, weights float32.

    Raises:
        ValueError: a number is not an integer or is out of range, or two don't fit together.

    Examples:
        >>> from keras_griffin.tasks import selective_copying
        >>> batch = selective_copying(1, 8, 3, seed=2)
        >>> batch.token_ids.shape, batch.weights.sum().item()
        ((1, 11), 3.0)

    Reference: Gu and Dao 2023 (arXiv 2312.00752), section 3.1 and figure 2; Jing et al. 2019 (arXiv 1706.02761) for the
    copying of tokens among noise.
    """
    owner = "selective_copying"
    batch_size = checked(owner, COUNT, batch_size=batch_size)
    length, num_tokens = checked(owner, COUNT, length=length), checked(owner, COUNT, num_tokens=num_tokens)
    vocabulary_size = checked(owner, integer_from(3), vocabulary_size=vocabulary_size)
    rng = generator(owner, seed)
    if num_tokens > length:
        raise ValueError(
            f"{owner}: num_tokens must be at most length. Got num_tokens {num_tokens} and length {length}."
        )
    data = rng.integers(1, vocabulary_size - 1, size=(batch_size, num_tokens))
    places = np.sort(np.argsort(rng.random((batch_size, length)), axis=1)[:, :num_tokens], axis=1)
    token_ids = np.zeros((batch_size, length + num_tokens), "int32")
    np.put_along_axis(token_ids, places, data, axis=1)
    token_ids[:, length:] = vocabulary_size - 1
    targets, weights = np.zeros_like(token_ids), np.zeros(token_ids.shape, "float32")
    targets[:, length:] = data
    weights[:, length:] = 1
    return TaskBatch(token_ids, targets, weights)
