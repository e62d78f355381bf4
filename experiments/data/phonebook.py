"""Phonebook look-up: remember lines of a name and a number, and complete a name with its number."""

import numpy as np

from keras_griffin.checks import COUNT, checked
from keras_griffin.tasks.seeds import Seed, generator
from keras_griffin.tasks.task_batch import TaskBatch

#: The characters by token id: what `phonebook` writes its rows with.
PHONEBOOK_CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyz:\n"
_COLON, _NEWLINE = (PHONEBOOK_CHARACTERS.index(character) for character in ":\n")
_FIRST_LETTER, _LETTERS = PHONEBOOK_CHARACTERS.index("a"), 26


def phonebook(
    batch_size: int,
    num_entries: int = 24,
    num_lookups: int = 4,
    *,
    name_length: int = 3,
    number_length: int = 4,
    seed: Seed = 0,
) -> TaskBatch:
    """Lines of a name and a number; then some of them once more, of which the digits are to be answered.

        token_ids   xqb:3719|akd:0042|      akd:0042|       num_entries 2, num_lookups 1, and | is a newline
        targets                                0042
        weights                                1111

    A target is the next token: a model reads the row as text, and at the colon and at each digit but the last it
    predicts a digit. A number is right if all of its digits are; as each is predicted after the right ones, that is
    when greedy decoding of the number is right. Names are distinct within a row, and which are looked up is uniform,
    with repetition. Token ids are places in `PHONEBOOK_CHARACTERS`, 38 of them.

    There must be twice as many names of `name_length` letters, of 26, as entries. T is (num_entries + num_lookups)
    (name_length + number_length + 2).

    Reference: Jelassi et al. 2024 (arXiv 2402.01032), section 4.2; De et al. 2024 (arXiv 2402.19427), section 6.2.
    """
    owner = "phonebook"
    batch_size = checked(owner, COUNT, batch_size=batch_size)
    num_entries = checked(owner, COUNT, num_entries=num_entries)
    num_lookups = checked(owner, COUNT, num_lookups=num_lookups)
    name_length = checked(owner, COUNT, name_length=name_length)
    number_length = checked(owner, COUNT, number_length=number_length)
    rng = generator(owner, seed)
    if 2 * num_entries > _LETTERS**name_length:
        raise ValueError(
            f"{owner}: there must be two names for each entry. "
            f"Got num_entries {num_entries} and name_length {name_length}, which makes {_LETTERS**name_length} names."
        )
    width = name_length + number_length + 2
    names = _distinct_names(rng, batch_size, num_entries, name_length)
    lines = np.empty((batch_size, num_entries, width), "int32")
    lines[..., :name_length] = _FIRST_LETTER + names
    lines[..., name_length] = _COLON
    lines[..., name_length + 1 : -1] = rng.integers(10, size=(batch_size, num_entries, number_length))
    lines[..., -1] = _NEWLINE
    chosen = rng.integers(num_entries, size=(batch_size, num_lookups, 1))
    lookups = np.take_along_axis(lines, chosen, axis=1)
    token_ids = np.concatenate([lines, lookups], axis=1)
    targets, weights = np.zeros_like(token_ids), np.zeros(token_ids.shape, "float32")
    targets[:, num_entries:, name_length:-2] = lookups[..., name_length + 1 : -1]
    weights[:, num_entries:, name_length:-2] = 1
    return TaskBatch(*(array.reshape(batch_size, -1) for array in (token_ids, targets, weights)))


def _distinct_names(rng, rows, number, length):
    """`(rows, number, length)` letters from 0 to 25, no name twice in a row."""
    names = rng.integers(_LETTERS**length, size=(rows, number))
    is_repeated = np.ones(names.shape, bool)
    while is_repeated.any():
        order = np.argsort(names, axis=1, kind="stable")
        ordered = np.take_along_axis(names, order, axis=1)
        is_repeated[...] = False
        np.put_along_axis(is_repeated, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
        names[is_repeated] = rng.integers(_LETTERS**length, size=is_repeated.sum())
    return np.stack(np.unravel_index(names, (_LETTERS,) * length), axis=-1)
