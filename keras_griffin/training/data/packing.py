"""Documents of any lengths as full rows for `model.packed()`: no padding to speak of, and no token lost."""

import itertools
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import Any

import keras
import numpy as np

from keras_griffin.checks import FLAG, checked, integer_from
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


class PackedDocuments(keras.utils.PyDataset):
    r"""Documents packed into rows, for `model.packed().fit(data, shuffle=False)`.

    A row of T positions holds one document behind another, each with a segment id of its own, and padding, whose id is
    0, behind the last. With `token_ids` \(x\), `targets` \(y\) and `weights` \(w\),

        y[t] = the token after x[t] in its document, and w[t] = 1;   where there is none, y[t] = 0 and w[t] = 0

    so nothing predicts the first token of the next document, and every token but the first of each document is
    predicted exactly once.

    A document longer than a row is cut into pieces of T tokens and a rest. Each token stands in one piece; the last
    target of a piece is the first token of the next, so a cut costs no prediction. But a piece knows nothing of those
    before it: it begins as a new document does.

    Documents are put into rows once, in an order drawn from the seed, each into the first row that has room; an epoch
    takes the rows in an order drawn from the seed and the epoch. (Which documents share a row makes no difference to a
    model that keeps them apart.) So a batch depends on the seed, the epoch and its index alone: to go on anywhere, set
    `epoch`. The last batch is filled up with rows of padding.

    Args:
        documents: a sequence of integer arrays `(T,)`, or of lists of integers, of any lengths; or a `TokenFile`. For
            what can only be read from its beginning there is `PackedStream`.
        sequence_length: T, at least 2.
        batch_size: B, rows in a batch.
        seed: of the order of documents and of rows.
        shuffle: False takes documents, and with them rows, in the order in which they come, in every epoch.
        long_documents: what happens to a document longer than a row: `"cut"`; `"truncate"`, which keeps its first T
            tokens; or `"drop"`. The last two lose tokens, and `counts` says how many.
        vocabulary_size: of the model; ids are checked. A `TokenFile` says its own.
        open_rows: how many rows wait for what fits. The more, the less padding, and the longer it takes to plan.
        weights: for each document an array `(T,)`, what each of its tokens weighs as a target in place of 1, such as 0
            where it is not to be learned; see `read_chats`.
        **kwargs: `workers`, `use_multiprocessing` and `max_queue_size` of `keras.utils.PyDataset`.

    Attributes:
        counts: a `PackingCounts`: documents, tokens, placed, dropped, padding, rows, predictions.
        epoch: counts from 0; `fit` goes on to the next by `on_epoch_end`.

    Returns:
        Each batch is `({"token_ids", "segment_ids"}, targets, weights)`, all `(B, T)`: int32, and float32 weights.

    Raises:
        ValueError: a number is out of range; the documents are no sequence, have no token, or are no integers; an id is
            not in the vocabulary, or the file is of a larger one; or the weights are not one for each token.

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

    Reference: Krell et al. 2021 (arXiv 2107.02027) for rows of documents that are kept apart; they plan rows from the
    counts of all lengths, which a stream has not, where here each document goes into the first row with room.
    """

    #: See the argument; not among what describes a run where there are none.
    weights = None

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
            self.weights = weights
        self.documents = documents
        self.sequence_length = sequence_length
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.long_documents = long_documents
        self.vocabulary_size = vocabulary_size
        self.open_rows = open_rows
        self.epoch = 0
        kept = kept_lengths(lengths, sequence_length, long_documents)
        order = np.random.default_rng(seed).permutation(len(kept)) if shuffle else np.arange(len(kept))
        # A piece is tokens start to start + length of a document; a row is the pieces from one of its ends to the next.
        self._pieces, self._ends = _plan(kept, order, sequence_length, open_rows)
        self._is_last = self._pieces[1] + self._pieces[2] == kept[self._pieces[0]]
        rows, placed = len(self._ends) - 1, int(kept.sum())
        #: See `PackingCounts`.
        self.counts = PackingCounts(
            documents=len(lengths),
            tokens=int(lengths.sum()),
            placed=placed,
            dropped=int(lengths.sum()) - placed,
            padding=rows * sequence_length - placed,
            rows=rows,
            predictions=self._count_predictions(kept),
        )
        self._row_order = _RowOrder(rows, seed if shuffle else None)

    @property
    def num_batches(self):
        """How many batches hold all rows."""
        return -(-self.counts.rows // self.batch_size)

    def on_epoch_end(self):
        """Go on to another order of the rows."""
        self.epoch += 1

    def __getitem__(self, index):
        if not 0 <= index < self.num_batches:
            raise IndexError(f"PackedDocuments: a batch's index must be from 0 to {self.num_batches - 1}. Got {index}.")
        batch = PackedBatch(self.batch_size, self.sequence_length)
        rows = self._row_order(self.epoch)[index * self.batch_size : (index + 1) * self.batch_size]
        for place, row in enumerate(rows):
            for piece in range(self._ends[row], self._ends[row + 1]):
                number, start, length = self._pieces[:, piece].tolist()
                # One more than its length, where the document goes on.
                stop = start + length + (not self._is_last[piece])
                tokens = as_tokens("PackedDocuments", self.documents[number], number)[start:stop]
                weights = None if self.weights is None else np.asarray(self.weights[number])[start:stop]
                batch.append(place, tokens, length, weights)
        return batch.for_fit("PackedDocuments", self.vocabulary_size)

    def _count_predictions(self, kept):
        """Of documents of which so many tokens are kept, all but the first, or those with weight."""
        if self.weights is None:
            return int(np.maximum(kept - 1, 0).sum())
        return sum(int(np.count_nonzero(each[1:n])) for each, n in zip(self.weights, kept.tolist(), strict=True))


class PackedStream:
    """Documents packed into rows as they come, for what has no length or fits in no memory.

    Rows, batches and arguments are those of `PackedDocuments` with `shuffle=False`: no more than `open_rows` rows are
    held at a time, and the last batch is filled up with rows of padding. `iter(stream)` is a generator of batches, for
    `model.packed().fit(iter(stream), steps_per_epoch=..., shuffle=False)`; `to_tf_data`, `to_torch_loader` and
    `to_grain` take the stream itself.

    Args:
        documents: an iterable of integer arrays `(T,)`, or a function that returns one, so that it can be read more
            than once.
        sequence_length: T, at least 2.
        batch_size: B, rows in a batch.
        long_documents: see `PackedDocuments`.
        vocabulary_size: of the model; ids are checked where it is given.
        open_rows: how many rows are held.

    Attributes:
        counts: a `PackingCounts` of what the newest iterator has read and given; where it has not come to its end, some
            tokens are held, neither placed nor dropped.

    Raises:
        ValueError: as `PackedDocuments`; or a generator is read a second time.

    Examples:
        >>> from keras_griffin.training import PackedStream
        >>> stream = PackedStream((range(n) for n in (3, 2, 6)), sequence_length=5, batch_size=3)
        >>> [x["token_ids"].tolist() for x, targets, weights in stream]
        [[[0, 1, 2, 0, 1], [0, 1, 2, 3, 4], [5, 0, 0, 0, 0]]]
        >>> print(stream.counts)
        3 documents, 11 tokens in 3 rows, 73.3% full

    Reference: as `PackedDocuments`, Krell et al. 2021 (arXiv 2107.02027).
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
        """The length of each piece, which is held with the token after it until its row is closed."""
        pieces = itertools.count()
        for number, document in enumerate(documents):
            tokens = as_tokens("PackedStream", document, number)
            kept = int(kept_lengths(np.array(len(tokens)), self.sequence_length, self.long_documents))
            self._count(documents=1, tokens=len(tokens), dropped=len(tokens) - kept)
            for start in range(0, kept, self.sequence_length):
                stop = min(start + self.sequence_length, kept)
                # A copy, so that a long document is not held for its last piece.
                held[next(pieces)] = tokens[start : min(stop + 1, kept)].copy(), stop - start
                yield stop - start

    def _count(self, **more):
        self.counts = self.counts._replace(**{name: getattr(self.counts, name) + n for name, n in more.items()})


class _RowOrder:
    """The order of rows in an epoch, of which the newest is remembered; copies of a dataset share it."""

    def __init__(self, rows: int, seed: int | None):
        self._rows = rows
        self._seed = seed
        self._newest: tuple[int | None, np.ndarray] = (None, np.zeros(0, int))

    def __call__(self, epoch: int) -> np.ndarray:
        # Other threads may ask for other epochs: one look, one whole answer.
        known, order = self._newest
        if known != epoch:
            order = np.arange(self._rows)
            if self._seed is not None:
                # The 1 keeps it apart from the order of documents: NumPy takes (seed, 0) for seed.
                order = np.random.default_rng((self._seed, epoch, 1)).permutation(self._rows)
            self._newest = (epoch, order)
        return order


def document_lengths(function_name: str, documents: Sequence | TokenFile) -> np.ndarray:
    """The length of each document `(N,)`, one at least being positive.

    Args:
        function_name: in whose name the error speaks.
        documents: a sequence of integer arrays `(T,)`, or of lists of integers; or a `TokenFile`.

    Raises:
        ValueError: the documents are no sequence, have no token, or are no integers.
    """
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
        raise ValueError(f"{function_name}: documents must hold a token. Got {len(lengths)} documents without.")
    return lengths


def _plan(kept, order, sequence_length, open_rows) -> tuple[np.ndarray, np.ndarray]:
    """All pieces `(3, P)`, document, start and length, row by row, and where each row ends `(R + 1,)`, from 0 on."""
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
