"""The last mark: which token followed it? All others are to be ignored, and each mark makes the one before obsolete."""

import numpy as np

from keras_griffin.checks import COUNT, FRACTION, checked, integer_from
from keras_griffin.tasks.seeds import Seed, generator
from keras_griffin.tasks.task_batch import TaskBatch


def last_mark(
    batch_size: int, length: int = 256, *, vocabulary_size: int = 16, share: float = 1 / 16, seed: Seed = 0
) -> TaskBatch:
    """Random tokens, some of them marks; every step from the first mark's token on asks for that of the latest mark.

        token_ids   3 0 M 2 5 5 1 M 4 3       M is the mark, vocabulary_size - 1
        targets     0 0 0 2 2 2 2 2 4 4
        weights     0 0 0 1 1 1 1 1 1 1

    The tokens to ignore are those to remember, so a model that keeps all of them has noise that looks like data; and a
    model that forgets nothing adds up the tokens of all marks.

    Args:
        batch_size: B.
        length: T.
        vocabulary_size: V; the last token is the mark.
        share: of the steps that may be a mark, those that are one: all but the last step and those after a mark.
        seed: an integer, or a sequence of them.
    """
    owner = "last_mark"
    batch_size, length = checked(owner, COUNT, batch_size=batch_size), checked(owner, integer_from(2), length=length)
    vocabulary_size = checked(owner, integer_from(3), vocabulary_size=vocabulary_size)
    share = checked(owner, FRACTION, share=share)
    rng = generator(owner, seed)
    mark = vocabulary_size - 1
    token_ids = rng.integers(mark, size=(batch_size, length)).astype("int32")
    wanted = rng.random((batch_size, length)) < share
    wanted[:, -1] = False
    is_mark = np.zeros_like(wanted)
    for step in range(length):
        is_mark[:, step] = wanted[:, step] & ~(is_mark[:, step - 1] if step else False)
    token_ids[is_mark] = mark
    # The step of the latest token behind a mark, 0 before the first.
    behind = np.pad(is_mark, ((0, 0), (1, 0)))[:, :-1]
    latest = np.maximum.accumulate(np.where(behind, np.arange(length), 0), axis=1)
    targets = np.where(latest > 0, np.take_along_axis(token_ids, latest, axis=1), 0)
    return TaskBatch(token_ids, targets.astype("int32"), (latest > 0).astype("float32"))
