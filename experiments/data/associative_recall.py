"""Multi-query associative recall (MQAR): remember pairs of a key and a value, and answer keys with their values."""

import numpy as np

from keras_griffin.checks import COUNT, FLAG, POSITIVE, checked, integer_from
from keras_griffin.tasks.seeds import Seed, generator
from keras_griffin.tasks.task_batch import TaskBatch


def associative_recall(
    batch_size: int,
    length: int = 256,
    num_pairs: int = 64,
    *,
    vocabulary_size: int = 8192,
    power: float = 0.01,
    answers: bool = False,
    seed: Seed = 0,
) -> TaskBatch:
    """Pairs of a key and a value; then each key once more at a random place, to be answered by its value.

        token_ids   2 8 4 7 | 0 0 4 0 0 0 2 0       length 12, num_pairs 2
        targets     0 0 0 0 | 0 0 7 0 0 0 8 0
        weights     0 0 0 0 | 0 0 1 0 0 0 1 0

    Keys are from 1 .. V // 2 - 1, values from V // 2 .. V - 1; in a row no two are equal. After the pairs, slot
    g = 0, 1, ... has two steps, for a key and, if the rows hold the `answers`, its value. Each key in turn takes one of
    the free slots with a probability in proportion to (g + 1)^(power - 1).

    All other steps hold token 0, which is neither key nor value. (By default the paper's code fills them with random
    tokens. One may be a key of the row, which then has two answers.)

    As in the paper, rows do not hold the answers. With them they are text that a language model could have written, and
    harder to learn: a model first learns to guess among the values that have not been given yet, and it may stay there
    long: `experiments/results/associative_recall.md` has a Transformer that learns without the answers and not with
    them.

    Each row needs 4 steps for a pair, and at most V // 2 - 1 keys. A `power` of 1 gives uniform places; the less, the
    sooner a key returns.

    Reference: Arora et al. 2023 (arXiv 2312.04927), and `multiquery_ar` in https://github.com/HazyResearch/zoology.
    """
    owner = "associative_recall"
    batch_size = checked(owner, COUNT, batch_size=batch_size)
    length, num_pairs = checked(owner, COUNT, length=length), checked(owner, COUNT, num_pairs=num_pairs)
    vocabulary_size = checked(owner, integer_from(4), vocabulary_size=vocabulary_size)
    power, answers = checked(owner, POSITIVE, power=power), checked(owner, FLAG, answers=answers)
    rng = generator(owner, seed)
    if 4 * num_pairs > length:
        raise ValueError(
            f"{owner}: length must be at least 4 for each pair. Got length {length} and num_pairs {num_pairs}."
        )
    first_value = vocabulary_size // 2
    if num_pairs > first_value - 1:
        raise ValueError(
            f"{owner}: vocabulary_size must be at least {2 * num_pairs + 2} for distinct keys. "
            f"Got vocabulary_size {vocabulary_size} and num_pairs {num_pairs}."
        )
    keys = 1 + _distinct(rng, np.zeros(first_value - 1), batch_size, num_pairs)
    values = first_value + _distinct(rng, np.zeros(vocabulary_size - first_value), batch_size, num_pairs)
    slots = np.arange((length - 2 * num_pairs) // 2)
    places = 2 * (num_pairs + _distinct(rng, (power - 1) * np.log(slots + 1), batch_size, num_pairs))
    token_ids = np.zeros((batch_size, length), "int32")
    token_ids[:, : 2 * num_pairs : 2] = keys
    token_ids[:, 1 : 2 * num_pairs : 2] = values
    targets, weights = np.zeros_like(token_ids), np.zeros(token_ids.shape, "float32")
    np.put_along_axis(token_ids, places, keys, axis=1)
    if answers:
        np.put_along_axis(token_ids, places + 1, values, axis=1)
    np.put_along_axis(targets, places, values, axis=1)
    np.put_along_axis(weights, places, 1, axis=1)
    return TaskBatch(token_ids, targets, weights)


def _distinct(rng, log_weights, rows, number):
    """`(rows, number)` indices, drawn one after another in proportion to their weights, none twice in a row.

    The largest of logarithms plus Gumbel noise, in descending order, are such draws.
    """
    noisy = log_weights + rng.gumbel(size=(rows, len(log_weights)))
    return np.argsort(-noisy, axis=1)[:, :number]
