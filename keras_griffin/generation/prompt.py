"""From what a user calls a prompt to the arrays that a model takes."""

from collections.abc import Collection

import keras
import numpy as np

#: Fills a row of an array after its stop id, and the place before a short prompt, where nothing is read.
PAD_ID = 0


def read_prompt(prompt, vocabulary_size: int) -> list[np.ndarray]:
    """The rows of a prompt, each a vector of at least one id.

    Args:
        prompt: `(B, T)` ids, or a list of B rows of any lengths.
        vocabulary_size: V.

    Raises:
        ValueError: no rows, an empty row, a wrong number of axes, ids that are not integers or not in the vocabulary.
    """
    if isinstance(prompt, list | tuple):
        rows = [np.asarray(keras.ops.convert_to_numpy(row)) for row in prompt]
    else:
        rows = list(np.atleast_1d(keras.ops.convert_to_numpy(prompt)))
    if not rows:
        raise ValueError("generate: the prompt must have at least one row. Got none.")
    for index, row in enumerate(rows):
        if row.ndim != 1:
            raise ValueError(
                "generate: the prompt must be (B, T) ids or a list of rows of ids. "
                f"Got row {index} of shape {row.shape}."
            )
        if not row.size:
            raise ValueError(f"generate: every row of the prompt must hold at least one id. Got none in row {index}.")
        _check_ids("the ids of the prompt", row, vocabulary_size)
    return rows


def read_stop_ids(stop_ids, vocabulary_size: int) -> np.ndarray:
    """The stop ids as a vector.

    Raises:
        ValueError: not a collection, or ids that are not integers or not in the vocabulary.
    """
    if not isinstance(stop_ids, Collection):
        raise ValueError(f"generate: stop_ids must be a collection of ids. Got {stop_ids!r}.")
    if not len(stop_ids):
        return np.zeros(0, "int32")
    vector = np.array(list(stop_ids))
    _check_ids("stop_ids", vector, vocabulary_size)
    return vector


def left_pad(rows: list[np.ndarray], bucketed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Align the rows at their ends.

    Args:
        rows: vectors of at least one id.
        bucketed: make the number of columns before the last a power of two, so that a function compiled for one length
            serves all lengths up to twice it.

    Returns:
        `(token_ids, mask)`, `(B, T)` int32 and bool: the last column holds every row's last id, and the mask is False
        before a row's first.
    """
    columns = max(row.size for row in rows) - 1
    if bucketed and columns:
        columns = 1 << (columns - 1).bit_length()
    token_ids = np.full((len(rows), columns + 1), PAD_ID, "int32")
    mask = np.zeros_like(token_ids, dtype=bool)
    for index, row in enumerate(rows):
        token_ids[index, -row.size :] = row
        mask[index, -row.size :] = True
    return token_ids, mask


def _check_ids(what, ids, vocabulary_size):
    if ids.dtype.kind not in "iu":
        raise ValueError(f"generate: {what} must be integers. Got {ids.dtype}.")
    outside = ids[(ids < 0) | (ids >= vocabulary_size)]
    if outside.size:
        raise ValueError(
            f"generate: {what} must be at least 0 and below the vocabulary's size {vocabulary_size}. Got {outside[0]}."
        )
