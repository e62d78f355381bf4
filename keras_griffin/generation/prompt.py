"""Convert a user's prompt to the arrays that a model reads."""

from collections.abc import Collection, Iterator, Sequence

import keras
import numpy as np

from keras_griffin.ops.shared.padding import power_of_two
from keras_griffin.shapes import Tensor
from keras_griffin.tokenizers import Tokenizer

#: A user's prompt: ids `(B, T)`, rows of ids, a text, or texts.
Prompt = str | Sequence | Tensor
#: Fills a row of an array after its stop id, and the masked places before a short prompt.
PAD_ID = 0
#: How many tokens of each row are read at once, so that memory does not grow with the length of a prompt.
CHUNK = 512


def read_prompt(
    function_name: str, prompt, vocabulary_size: int, tokenizer=None, seen: np.ndarray | None = None
) -> list[np.ndarray]:
    """The rows of a prompt, each a vector of ids; a text gets a start token in a row that has `seen (B,)` nothing."""
    count_rows(function_name, prompt)
    if is_text(prompt):
        texts = [prompt] if isinstance(prompt, str) else prompt
        if tokenizer is None:
            raise ValueError(
                f"{function_name}: a model must have a tokenizer to take text; set model.tokenizer, or give token ids. "
                f"Got {texts[0][:40]!r}."
            )
        is_new = [True] * len(texts) if seen is None else [not before for before in seen]
        rows = [
            np.array(tokenizer.encode(text, start=start), "int32") for text, start in zip(texts, is_new, strict=True)
        ]
    elif isinstance(prompt, list | tuple):
        rows = [_as_array(function_name, "a row of the prompt", row) for row in prompt]
    else:
        rows = list(_as_array(function_name, "the prompt", prompt))
    if not rows:
        raise ValueError(f"{function_name}: the prompt must have at least one row. Got none.")
    for index, row in enumerate(rows):
        if row.ndim != 1:
            raise ValueError(
                f"{function_name}: the prompt must be (B, T) ids or a list of rows of ids. "
                f"Got row {index} of shape {row.shape}."
            )
        if row.size:
            _check_ids(function_name, "the ids of the prompt", row, vocabulary_size)
    return [row.astype("int32") for row in rows]


def count_rows(function_name: str, prompt) -> int:
    """The number of rows, B."""
    if isinstance(prompt, str):
        return 1
    if not (isinstance(prompt, list | tuple) or len(getattr(prompt, "shape", ()))):
        raise ValueError(f"{function_name}: the prompt must be (B, T) ids or a list of rows of ids. Got {prompt!r}.")
    return len(prompt)


def is_text(prompt) -> bool:
    """Whether a prompt is a text or a list of texts."""
    rows = prompt if isinstance(prompt, list | tuple) else [prompt]
    return bool(rows) and all(isinstance(row, str) for row in rows)


def start_empty_rows(
    function_name: str, rows: list[np.ndarray], seen: np.ndarray, tokenizer: Tokenizer | None
) -> list[np.ndarray]:
    """The rows, with the start token in those that are empty and have seen nothing."""
    started = []
    for index, row in enumerate(rows):
        if not row.size and not seen[index]:
            if tokenizer is None or tokenizer.start_id is None:
                raise ValueError(
                    f"{function_name}: an empty row must begin with a start token, and the model has no tokenizer with "
                    f"one: put its id into the row. Got none in row {index}."
                )
            row = np.array([tokenizer.start_id], "int32")
        started.append(row)
    return started


def read_stop_ids(function_name: str, stop_ids, vocabulary_size: int) -> np.ndarray:
    """The stop ids, any collection, as a vector."""
    # An array without axes passes for a collection by its type.
    if (
        not isinstance(stop_ids, Collection)
        or isinstance(stop_ids, str | bytes)
        or getattr(stop_ids, "shape", None) == ()
    ):
        raise ValueError(f"{function_name}: stop_ids must be a collection of ids. Got {stop_ids!r}.")
    if not len(stop_ids):
        return np.zeros(0, "int32")
    vector = _as_array(function_name, "stop_ids", list(stop_ids))
    if vector.ndim != 1:
        raise ValueError(f"{function_name}: stop_ids must be a collection of ids. Got {stop_ids!r}.")
    _check_ids(function_name, "stop_ids", vector, vocabulary_size)
    return vector.astype("int32")


def chunks(rows: list[np.ndarray], bucketed: bool) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """The rows aligned at their ends, as consecutive chunks `(token_ids, mask)`, `(B, t)` int32 and bool.

    The mask is False before a row's first token; after the first chunk it is None where nothing is masked. If
    `bucketed`, the length is rounded up, so that a function compiled for one length serves others.
    """
    length = max(row.size for row in rows)
    if not length:
        return
    if bucketed:
        # A power of two up to one chunk, and a multiple of chunks beyond.
        length = power_of_two(length) if length <= CHUNK else -(-length // CHUNK) * CHUNK
    token_ids, mask = aligned(rows, length)
    first = (length - 1) % CHUNK + 1
    yield token_ids[:, :first], mask[:, :first]
    for start in range(first, length, CHUNK):
        piece = slice(start, start + CHUNK)
        yield token_ids[:, piece], None if mask[:, piece].all() else mask[:, piece]


def aligned(rows: list[np.ndarray], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of up to `length` ids with their ends at the end, `(B, length)` int32, and which places they fill, bool."""
    token_ids = np.full((len(rows), length), PAD_ID, "int32")
    for row, place in zip(rows, token_ids, strict=True):
        place[length - row.size :] = row
    return token_ids, np.arange(length) >= length - np.array([[row.size] for row in rows])


def _as_array(function_name, what, ids):
    try:
        return np.asarray(ids) if isinstance(ids, list | tuple) else np.asarray(keras.ops.convert_to_numpy(ids))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{function_name}: {what} must be integers. Got {ids!r}.") from error


def _check_ids(function_name, what, ids, vocabulary_size):
    if ids.dtype.kind not in "iu":
        raise ValueError(f"{function_name}: {what} must be integers. Got {ids.dtype}.")
    outside = ids[(ids < 0) | (ids >= vocabulary_size)]
    if outside.size:
        raise ValueError(
            f"{function_name}: {what} must be at least 0 and below the vocabulary's size {vocabulary_size}. "
            f"Got {outside[0]}."
        )
