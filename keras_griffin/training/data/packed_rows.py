"""Rows of several documents: cutting documents, filling rows, and counting."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_griffin.checks import COUNT, checked, integer_from, one_of

#: The choices for a document that is longer than a row.
LONG_DOCUMENTS = ("cut", "truncate", "drop")


class PackingCounts(NamedTuple):
    """Counts of packed tokens: `tokens = placed + dropped`, and `rows * sequence_length = placed + padding`."""

    #: Documents read, empty ones included.
    documents: int = 0
    #: Tokens read.
    tokens: int = 0
    #: Tokens in rows; each is in one row.
    placed: int = 0
    #: Tokens omitted by `long_documents`.
    dropped: int = 0
    #: Positions of rows without a token. Rows that only fill the last batch are not counted.
    padding: int = 0
    #: Rows with at least one token.
    rows: int = 0
    #: Targets with weight: by default every placed token except the first of each document.
    predictions: int = 0

    @property
    def fill(self) -> float:
        """The share of the rows' positions that hold tokens."""
        return self.placed / max(self.placed + self.padding, 1)

    def __str__(self) -> str:
        text = f"{self.documents:,} documents, {self.placed:,} tokens in {self.rows:,} rows, {self.fill:.1%} full"
        return f"{text}; {self.dropped:,} dropped" if self.dropped else text


class PackedBatch:
    """A batch of rows, to be filled with pieces of documents."""

    def __init__(self, batch_size: int, sequence_length: int):
        shape = (batch_size, sequence_length)
        self.token_ids, self.segment_ids, self.targets = (np.zeros(shape, "int32") for _ in range(3))
        self.weights = np.zeros(shape, "float32")
        self._reached = [0] * batch_size
        self._documents = [0] * batch_size

    def append(self, row: int, tokens: np.ndarray, length: int, weights: np.ndarray | None = None) -> None:
        """Append a piece to a row: `tokens`, `weights`: (length,), or (length + 1,) if the document continues."""
        start, stop = self._reached[row], self._reached[row] + length
        self._reached[row] = stop
        self._documents[row] += 1
        self.token_ids[row, start:stop] = tokens[:length]
        self.segment_ids[row, start:stop] = self._documents[row]
        predictions = len(tokens) - 1
        self.targets[row, start : start + predictions] = tokens[1:]
        self.weights[row, start : start + predictions] = 1.0 if weights is None else weights[1:]

    def for_fit(self, function_name: str, vocabulary_size: int | None) -> tuple:
        """`(x, targets, weights)`, after a check that the ids are in the vocabulary."""
        check_ids(function_name, np.stack([self.token_ids, self.targets]), vocabulary_size)
        return {"token_ids": self.token_ids, "segment_ids": self.segment_ids}, self.targets, self.weights


def kept_lengths(lengths: np.ndarray, sequence_length: int, long_documents: str) -> np.ndarray:
    """How many tokens of each document of these `lengths`, (N,), are kept."""
    if long_documents == "cut":
        return lengths
    return np.where(lengths > sequence_length, sequence_length if long_documents == "truncate" else 0, lengths)


def check_packing(
    function_name: str,
    sequence_length: int,
    batch_size: int,
    open_rows: int,
    long_documents: str,
    vocabulary_size: int | None,
) -> None:
    """Check the arguments of packing."""
    checked(function_name, integer_from(2), sequence_length=sequence_length)
    checked(function_name, COUNT, batch_size=batch_size)
    checked(function_name, COUNT, open_rows=open_rows)
    checked(function_name, one_of(LONG_DOCUMENTS), long_documents=long_documents)
    checked(function_name, COUNT.or_none(), vocabulary_size=vocabulary_size)


def check_ids(function_name: str, token_ids: np.ndarray, vocabulary_size: int | None) -> None:
    """Check that ids are not negative, and in the vocabulary if that is known."""
    least, greatest = token_ids.min(), token_ids.max()
    if least < 0 or (vocabulary_size is not None and greatest >= vocabulary_size):
        rule = "at least 0" if vocabulary_size is None else f"from 0 to {vocabulary_size - 1}"
        raise ValueError(f"{function_name}: token ids must be {rule}. Got ids from {least} to {greatest}.")


def as_tokens(function_name: str, document, number: int) -> np.ndarray:
    """A document, an array or a list, as an array `(T,)` of integers."""
    tokens = np.asarray(document)
    if tokens.shape == (0,):
        return tokens.astype("int32")
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
        raise ValueError(
            f"{function_name}: a document must be integers of shape (T,). "
            f"Got dtype {tokens.dtype} and shape {tokens.shape}, document {number}."
        )
    return tokens


def check_weights(function_name: str, weights: Sequence, lengths: np.ndarray) -> None:
    """Check that weights are one finite number of at least 0 for each token."""
    if len(weights) != len(lengths):
        raise ValueError(
            f"{function_name}: weights must be one array for each document. "
            f"Got {len(weights)} and {len(lengths)} documents."
        )
    for number, (each, length) in enumerate(zip(weights, lengths.tolist(), strict=True)):
        array = np.asarray(each)
        # Only numbers can be compared.
        numbers = array.dtype.kind in "biuf" and array.shape == (length,)
        if not numbers or not np.all(np.isfinite(array) & (array >= 0)):
            raise ValueError(
                f"{function_name}: weights must be finite numbers of at least 0, one for each token. "
                f"Got {array.dtype} {array.shape} for document {number} of {length} tokens."
            )
