"""Pack documents of any lengths into full rows for `model.packed()`, with little padding and no token lost."""

import itertools
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import Any

import numpy as np

from keras_griffin.checks import FLAG, checked, integer_from
from keras_griffin.models.training.batches_of_rows import BatchesOfRows
from keras_griffin.training.data.first_fit import OPEN_ROWS, first_fit
from keras_griffin.training.data.packed_rows import (
    PackedBatch,
    PackingCounts,
    as_tokens,
    check_packing,
    check_weights,
    kept_lengths,
)
from keras_griffin.training.data.token_file import TokenFile


class PackedDocuments(BatchesOfRows):
    r"""Documents packed into rows, for `model.packed().fit(data, shuffle=False)`.

    A row of T positions holds consecutive documents, each with its own segment id, followed by padding, with id 0. With
    `token_ids` \(x\), `targets` \(y\) and `weights` \(w\),

        y[t] = the token after x[t] in its document, w[t] = 1
        y[t] = 0, w[t] = 0 at the end of a document

    so the first token of a document is never a target, and every other token is predicted exactly once.

    A document longer than a row is cut into pieces of T tokens and a rest. The last target of a piece is the first
    token of the next, so a cut costs no prediction. But a piece begins like a new document, without context.

    Documents are assigned to rows once, in an order drawn from the seed, each to the first row that has room; an epoch
    takes the rows in an order drawn from the seed and the epoch. So a batch depends only on the seed, the epoch and its
    index: to resume anywhere, set `epoch`. The last batch is filled with rows of padding.

    Args:
        documents: a sequence of integer arrays `(T,)`, or of lists of integers, of any lengths; or a `TokenFile`. For
            documents that can only be read in order, use `PackedStream`.
        sequence_length: T, at least 2.
        batch_size: B, rows in a batch.
        seed: of the order of documents and of rows.
        shuffle: False keeps documents, and thus rows, in the given order in every epoch.
        long_documents: what to do with a document longer than a row: `"cut"`; `"truncate"`, which keeps its first T
            tokens; or `"drop"`. The last two lose tokens, which `counts` reports.
        vocabulary_size: of the model, to check the ids. A `TokenFile` has its own.
        open_rows: how many rows are open at a time. The more, the less padding, and the longer the planning.
        weights: for each document an array `(T,)`, the weight of each of its tokens as a target instead of 1, such as 0
            for tokens not to learn; see `read_chats`.
        **kwargs: `workers`, `use_multiprocessing` and `max_queue_size` of `keras.utils.PyDataset`.

    Attributes:
        counts: a `PackingCounts`: documents, tokens, placed, dropped, padding, rows, predictions.
        epoch: counts from 0; `fit` advances it through `on_epoch_end`.

    Returns:
        Each batch is `({"token_ids", "segment_ids"}, targets, weights)`, all `(B, T)`, of int32, and float32 weights.

    Raises:
        ValueError: a number is out of range; the documents are not a sequence, have no token, or are not integers; an
            id is not in the vocabulary, or the file has a larger one; or the weights are not one for each token.

    Examples:
        >>> from keras_griffin.training import PackedDocuments
        >>> documents = [[1, 2, 3], [4, 5], [6, 7, 8, 9, 10, 11]]
        >>> data = PackedDocuments(documents, sequence_length=5, batch_size=3, shuffle=False)
        >>> x, targets, weights = data[0]
        >>> print(x["token_ids"])
        [[ 1  2  3  4  5]
         [ 6  7  8  9 10]
         [11  0  0  0  0]]
        >>> print(x["segment_ids"][0], targets[0], weights[0])
        [1 1 1 2 2] [2 3 0 5 0] [1. 1. 0. 1. 0.]
        >>> targets[1].tolist(), data.counts.predictions
        ([7, 8, 9, 10, 11], 8)

    Reference: Krell et al. 2021 (arXiv 2107.02027), who plan rows from a histogram of all lengths.
    """

    def __init__(
        self,
        documents: Sequence | TokenFile,
        sequence_length: int,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        long_documents: str = "cut",
        vocabulary_size: int | None = None,
        open_rows: int = OPEN_ROWS,
        weights: Sequence | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_packing("PackedDocuments", sequence_length, batch_size, open_rows, long_documents, vocabulary_size)
        checked("PackedDocuments", integer_from(0), seed=seed)
        checked("PackedDocuments", FLAG, shuffle=shuffle)
        lengths = document_lengths("PackedDocuments", documents)
        if isinstance(documents, TokenFile):
            vocabulary_size = documents.checked_vocabulary_size("PackedDocuments", vocabulary_size)
        if weights is not None:
            check_weights("PackedDocuments", weights, lengths)
        self.documents = documents
        self.weights = weights
        self.sequence_length = sequence_length
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.long_documents = long_documents
        self.vocabulary_size = vocabulary_size
        self.open_rows = open_rows
        kept = kept_lengths(lengths, sequence_length, long_documents)
        order = np.random.default_rng(seed).permutation(len(kept)) if shuffle else np.arange(len(kept))
        # A piece is tokens start to start + length of a document; row r is the pieces ends[r] to ends[r + 1].
        self._pieces, self._ends = _plan(kept, order, sequence_length, open_rows)
        self._is_last = self._pieces[1] + self._pieces[2] == kept[self._pieces[0]]
        rows, placed = len(self._ends) - 1, int(kept.sum())
        self.counts = PackingCounts(
            documents=len(lengths),
            tokens=int(lengths.sum()),
            placed=placed,
            dropped=int(lengths.sum()) - placed,
            padding=rows * sequence_length - placed,
            rows=rows,
            predictions=self._count_predictions(kept),
        )
        self._row_order: tuple[int | None, np.ndarray] = (None, np.empty(0))

    @property
    def num_batches(self):
        """The number of batches for all rows."""
        return -(-self.counts.rows // self.batch_size)

    def rows(self, index: int, start: int, stop: int) -> tuple:
        """Rows `start` to `stop - 1` of a batch."""
        self.check_index(index)
        batch = PackedBatch(stop - start, self.sequence_length)
        rows = self._rows_of_epoch()[index * self.batch_size + start : index * self.batch_size + stop]
        for place, row in enumerate(rows):
            for piece in range(self._ends[row], self._ends[row + 1]):
                number, start, length = self._pieces[:, piece].tolist()
                # One token more than its length, if the document continues.
                stop = start + length + (not self._is_last[piece])
                tokens = as_tokens("PackedDocuments", self.documents[number], number)[start:stop]
                weights = None if self.weights is None else np.asarray(self.weights[number])[start:stop]
                batch.append(place, tokens, length, weights)
        return batch.for_fit("PackedDocuments", self.vocabulary_size)

    def _rows_of_epoch(self) -> np.ndarray:
        """The order of the rows."""
        # Other threads may be reading other epochs: read and replace the cached tuple as a whole.
        epoch = self.epoch
        known, order = self._row_order
        if known != epoch:
            order = np.arange(self.counts.rows)
            if self.shuffle:
                # The 1 separates it from the order of documents: to NumPy, (seed, 0) is the same as seed.
                order = np.random.default_rng((self.seed, epoch, 1)).permutation(order)
            self._row_order = epoch, order
        return order

    def _count_predictions(self, kept):
        """Of the kept tokens of each document, all but the first, or those with weight."""
        if self.weights is None:
            return int(np.maximum(kept - 1, 0).sum())
        return sum(int(np.count_nonzero(each[1:n])) for each, n in zip(self.weights, kept.tolist(), strict=True))


class PackedStream:
    """Documents packed into rows as they arrive, for streams of unknown length or larger than memory.

    Rows, batches and arguments are those of `PackedDocuments` with `shuffle=False`: at most `open_rows` rows are open
    at a time, and the last batch is filled with rows of padding. `iter(stream)` is a generator of batches, for
    `model.packed().fit(iter(stream), steps_per_epoch=..., shuffle=False)`.

    Args:
        documents: an iterable of integer arrays `(T,)`, or a function that returns one, so that it can be read more
            than once.
        sequence_length: T, at least 2.
        batch_size: B, rows in a batch.
        long_documents: see `PackedDocuments`.
        vocabulary_size: of the model, to check the ids.
        open_rows: how many rows are open at a time.

    Attributes:
        counts: a `PackingCounts` of the latest iterator; until that ends, some tokens are still in open rows, neither
            placed nor dropped.

    Raises:
        ValueError: as for `PackedDocuments`; or a generator is read a second time.

    Examples:
        >>> from keras_griffin.training import PackedStream
        >>> stream = PackedStream((range(n) for n in (3, 2, 6)), sequence_length=5, batch_size=3)
        >>> [x["token_ids"].tolist() for x, targets, weights in stream]
        [[[0, 1, 2, 0, 1], [0, 1, 2, 3, 4], [5, 0, 0, 0, 0]]]
        >>> print(stream.counts)
        3 documents, 11 tokens in 3 rows, 73.3% full
    """

    def __init__(
        self,
        documents: Iterable | Callable[[], Iterable],
        sequence_length: int,
        batch_size: int,
        *,
        long_documents: str = "cut",
        vocabulary_size: int | None = None,
        open_rows: int = OPEN_ROWS,
    ):
        check_packing("PackedStream", sequence_length, batch_size, open_rows, long_documents, vocabulary_size)
        if isinstance(documents, str | bytes) or not (callable(documents) or isinstance(documents, Iterable | Sized)):
            raise ValueError(
                "PackedStream: documents must be an iterable of integer arrays, or a function that returns one. "
                f"Got a {type(documents).__name__}."
            )
        if isinstance(documents, TokenFile):
            vocabulary_size = documents.checked_vocabulary_size("PackedStream", vocabulary_size)
        self.documents = documents
        self.sequence_length = sequence_length
        self.batch_size = batch_size
        self.long_documents = long_documents
        self.vocabulary_size = vocabulary_size
        self.open_rows = open_rows
        #: See `PackingCounts`.
        self.counts = PackingCounts()
        self._is_spent = False

    def __iter__(self) -> Iterator[tuple]:
        documents = self.documents() if callable(self.documents) else self.documents
        if self._is_spent:
            raise ValueError(
                "PackedStream: documents must be a function that returns an iterable, to be read more than once. "
                f"Got a {type(self.documents).__name__}."
            )
        self._is_spent = iter(documents) is self.documents
        self.counts = PackingCounts()
        batch, place = PackedBatch(self.batch_size, self.sequence_length), 0
        held: dict[int, tuple[np.ndarray, int]] = {}
        for row in first_fit(self._lengths(documents, held), self.sequence_length, self.open_rows):
            if place == self.batch_size:
                yield batch.for_fit("PackedStream", self.vocabulary_size)
                batch, place = PackedBatch(self.batch_size, self.sequence_length), 0
            for piece in row:
                tokens, length = held.pop(piece)
                batch.append(place, tokens, length)
                self._count(placed=length, padding=-length, predictions=len(tokens) - 1)
            self._count(rows=1, padding=self.sequence_length)
            place += 1
        if place:
            yield batch.for_fit("PackedStream", self.vocabulary_size)

    def _lengths(self, documents, held) -> Iterator[int]:
        """The length of each piece; `held` keeps the piece, with the token after it, until its row is closed."""
        pieces = itertools.count()
        for number, document in enumerate(documents):
            tokens = as_tokens("PackedStream", document, number)
            kept = int(kept_lengths(np.array(len(tokens)), self.sequence_length, self.long_documents))
            self._count(documents=1, tokens=len(tokens), dropped=len(tokens) - kept)
            for start in range(0, kept, self.sequence_length):
                stop = min(start + self.sequence_length, kept)
                # A copy, so that its last piece does not keep a long document in memory.
                held[next(pieces)] = tokens[start : min(stop + 1, kept)].copy(), stop - start
                yield stop - start

    def _count(self, **more):
        self.counts = self.counts._replace(**{name: getattr(self.counts, name) + n for name, n in more.items()})


def document_lengths(function_name: str, documents: Sequence | TokenFile) -> np.ndarray:
    """The length of each document `(N,)`, at least one of them positive."""
    if isinstance(documents, TokenFile):
        lengths = documents.lengths
    elif hasattr(documents, "__len__") and hasattr(documents, "__getitem__") and not isinstance(documents, str | bytes):
        all_tokens = (as_tokens(function_name, document, number) for number, document in enumerate(documents))
        lengths = np.fromiter(map(len, all_tokens), "int64", len(documents))
    else:
        raise ValueError(
            f"{function_name}: documents must be a sequence, such as a list or a TokenFile; PackedStream takes others. "
            f"Got a {type(documents).__name__}."
        )
    if not lengths.any():
        raise ValueError(f"{function_name}: documents must have at least one token. Got {len(lengths)} empty ones.")
    return lengths


def _plan(kept, order, sequence_length, open_rows) -> tuple[np.ndarray, np.ndarray]:
    """All pieces `(3, P)`, document, start and length, row by row; and the rows' boundaries `(R + 1,)`, from 0."""
    pieces_of = -(-kept[order] // sequence_length)
    documents = np.repeat(order, pieces_of)
    first = np.repeat(np.cumsum(pieces_of) - pieces_of, pieces_of)
    starts = sequence_length * (np.arange(len(documents)) - first)
    pieces = np.stack([documents, starts, np.minimum(sequence_length, kept[documents] - starts)])
    by_row, ends = array("q"), array("q", [0])
    for row in first_fit(map(int, pieces[2]), sequence_length, open_rows):
        by_row.extend(row)
        ends.append(len(by_row))
    return pieces[:, np.array(by_row)], np.array(ends)
