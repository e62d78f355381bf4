"""Batches of consecutive chunks of text, for a model whose state is carried from batch to batch."""

from collections.abc import Sequence

import numpy as np

from keras_griffin.checks import COUNT, FLAG, checked, integer_from
from keras_griffin.models.training.batches_of_rows import BatchesOfRows
from keras_griffin.training.data.packed_rows import as_tokens, check_ids
from keras_griffin.training.data.packing import document_lengths
from keras_griffin.training.data.token_file import TokenFile


class ConsecutiveChunks(BatchesOfRows):
    """Documents concatenated into B long rows, cut into chunks; batch k holds chunk k of every row.

    Row b of batch k continues row b of batch k - 1. The rows are equally long, up to padding at the end of the last
    ones; if a row's end cuts a document, the next row begins with the rest of it, from the initial state. Every token
    except the first of each document is predicted once per epoch. A batch depends only on the seed, the epoch and its
    index.

    Args:
        documents: a sequence of integer arrays `(T,)`, such as a list or a `TokenFile`; one text is a list of one.
        sequence_length: T, steps in a chunk, through which gradients flow back.
        batch_size: B.
        seed: of the documents' order.
        shuffle: whether documents are in a new order in every epoch; False keeps the given order.
        vocabulary_size: V, to check the ids; None for that of a `TokenFile`, or for no limit.

    Attributes:
        epoch: counts from 0; `fit` advances it through `on_epoch_end`.

    Returns:
        Each batch is `({"token_ids", "segment_ids", "chunk"}, targets, weights)` of `(B, T)` int32, except chunk, which
        is `(B,)` int32, and weights, float32, which are 0 at padding and where the target begins a document.

    Raises:
        ValueError: there are fewer than two tokens; a number is out of range; the documents are not a sequence, or not
            integers; an id, or the vocabulary of a `TokenFile`, is outside that of the model.

    Examples:
        >>> import numpy as np
        >>> from keras_griffin.training import ConsecutiveChunks
        >>> chunks = ConsecutiveChunks([np.arange(1, 10)], sequence_length=2, batch_size=2)
        >>> for x, targets, weights in chunks:
        ...     print(x["chunk"][0], x["token_ids"].tolist(), targets.tolist())
        0 [[1, 2], [5, 6]] [[2, 3], [6, 7]]
        1 [[3, 4], [7, 8]] [[4, 5], [8, 9]]
    """

    def __init__(
        self,
        documents: Sequence | TokenFile,
        sequence_length: int,
        batch_size: int,
        seed: int = 0,
        *,
        shuffle: bool = True,
        vocabulary_size: int | None = None,
    ):
        super().__init__()
        checked("ConsecutiveChunks", COUNT, sequence_length=sequence_length)
        checked("ConsecutiveChunks", COUNT, batch_size=batch_size)
        checked("ConsecutiveChunks", integer_from(0), seed=seed)
        checked("ConsecutiveChunks", FLAG, shuffle=shuffle)
        checked("ConsecutiveChunks", COUNT.or_none(), vocabulary_size=vocabulary_size)
        if isinstance(documents, TokenFile):
            vocabulary_size = documents.checked_vocabulary_size("ConsecutiveChunks", vocabulary_size)
        self.documents = documents
        self.sequence_length = sequence_length
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.vocabulary_size = vocabulary_size
        self._lengths = document_lengths("ConsecutiveChunks", documents)
        self._order: tuple[int, np.ndarray, np.ndarray] | None = None
        predictions = int(self._lengths.sum()) - 1
        if predictions < 1:
            raise ValueError(f"ConsecutiveChunks: documents must have at least 2 tokens. Got {predictions + 1}.")
        self._num_batches = -(-predictions // (batch_size * sequence_length))

    @property
    def num_batches(self):
        """The number of chunks in a row."""
        return self._num_batches

    def rows(self, index: int, start: int, stop: int) -> tuple:
        """Rows `start` to `stop - 1` of a batch."""
        self.check_index(index)
        order, ends = self._order_and_ends()
        tokens, numbers = np.zeros((2, stop - start, self.sequence_length + 1), "int32")
        for place, b in enumerate(range(start, stop)):
            begin = (b * self.num_batches + index) * self.sequence_length
            self._read(order, ends, begin, tokens[place], numbers[place])
        check_ids("ConsecutiveChunks", tokens, self.vocabulary_size)
        # A token is predicted from the one before it in the same document.
        weights = (numbers[:, 1:] == numbers[:, :-1]) & (numbers[:, 1:] > 0)
        chunk = np.full(len(tokens), index, "int32")
        x = {"token_ids": tokens[:, :-1].copy(), "segment_ids": numbers[:, :-1].copy(), "chunk": chunk}
        return x, tokens[:, 1:].copy(), weights.astype("float32")

    def _order_and_ends(self):
        """The order of the documents in this epoch, and where each ends."""
        # Other threads may be reading other epochs: read and replace the cached tuple as a whole.
        epoch, newest = self.epoch, self._order
        if newest is None or newest[0] != epoch:
            rng = np.random.default_rng((self.seed, epoch))
            order = rng.permutation(len(self._lengths)) if self.shuffle else np.arange(len(self._lengths))
            self._order = newest = epoch, order, np.cumsum(self._lengths[order])
        return newest[1:]

    def _read(self, order, ends, start, tokens, numbers):
        """Fill `tokens` from position `start` on, and `numbers` with their documents' places in the order, from 1."""
        reached, stop = start, min(start + len(tokens), int(ends[-1]))
        place = int(np.searchsorted(ends, start, side="right"))
        while reached < stop:
            document = as_tokens("ConsecutiveChunks", self.documents[int(order[place])], int(order[place]))
            begin = int(ends[place]) - len(document)
            part = document[reached - begin : stop - begin]
            tokens[reached - start : reached - start + len(part)] = part
            numbers[reached - start : reached - start + len(part)] = place + 1
            reached += len(part)
            place += 1
