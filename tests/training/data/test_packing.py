"""Packed rows against the documents that they were made of."""

import numpy as np
import pytest

from keras_griffin.training import PackedDocuments, PackedStream, TokenFile, write_token_file
from keras_griffin.training.data.packed_rows import PackingCounts

pytestmark = pytest.mark.any_backend

T = 8


def documents(count=60, longest=30, seed=0):
    """Documents whose tokens are all different, so that each shows where it comes from."""
    lengths = np.random.default_rng(seed).integers(0, longest, count)
    starts = np.cumsum(lengths) - lengths
    return [np.arange(start, start + length) + 1 for start, length in zip(starts, lengths, strict=True)]


def all_rows(batches):
    """`(token_ids, segment_ids, targets, weights)` of all rows."""
    batches = list(batches)
    inputs = [np.concatenate([x[name] for x, _, _ in batches]) for name in ("token_ids", "segment_ids")]
    return *inputs, np.concatenate([y for _, y, _ in batches]), np.concatenate([w for _, _, w in batches])


SOURCES = {
    "documents": lambda given, **options: PackedDocuments(given, T, 4, **options),
    "documents in order": lambda given, **options: PackedDocuments(given, T, 4, shuffle=False, **options),
    "stream": lambda given, **options: PackedStream(lambda: iter(given), T, 4, **options),
}


@pytest.fixture(params=SOURCES)
def source(request):
    return SOURCES[request.param]


@pytest.mark.parametrize("longest", [3, 9, 10, 50])
@pytest.mark.parametrize("open_rows", [1, 32])
def test_every_token_is_placed_once_and_all_but_the_first_of_a_document_predicted_once(source, longest, open_rows):
    given = documents(longest=longest)
    packed = source(given, open_rows=open_rows)
    token_ids, segment_ids, targets, weights = all_rows(packed)
    tokens = np.concatenate(given)
    assert sorted(token_ids[segment_ids > 0]) == sorted(tokens)
    first = [document[0] for document in given if len(document)]
    assert sorted(targets[weights == 1]) == sorted(set(tokens) - set(first))
    # The token after t is t + 1 in its document: a target is never another document's.
    assert np.array_equal(targets[weights == 1], token_ids[weights == 1] + 1)
    assert not targets[weights == 0].any() and not token_ids[segment_ids == 0].any()
    assert not weights[segment_ids == 0].any() and set(np.unique(weights)) <= {0.0, 1.0}
    counts = packed.counts
    assert counts.documents == len(given) and counts.tokens == counts.placed == len(tokens) and counts.dropped == 0
    assert counts.placed + counts.padding == counts.rows * T
    assert counts.rows == (segment_ids > 0).any(1).sum()
    assert counts.predictions == weights.sum() and counts.fill == counts.placed / (counts.rows * T)


def test_a_segment_is_a_piece_of_a_document_and_padding_is_last(source):
    given = documents()
    ends = {int(document[-1]) for document in given if len(document)}
    token_ids, segment_ids, _, weights = all_rows(source(given))
    for tokens, segments, weight in zip(token_ids, segment_ids, weights, strict=True):
        real = segments > 0
        assert np.array_equal(real, np.sort(real)[::-1])
        assert np.array_equal(np.unique(segments[real]), np.arange(segments.max()) + 1)
        for segment in np.arange(segments.max()) + 1:
            piece, places = tokens[segments == segment], np.flatnonzero(segments == segment)
            assert np.array_equal(piece, piece[0] + np.arange(len(piece)))
            assert np.array_equal(places, places[0] + np.arange(len(places)))
            # Only at the document's end is nothing predicted; a cut ends a row, for all that is predicted across it.
            assert weight[places].tolist() == [1.0] * (len(piece) - 1) + [float(piece[-1] not in ends)]


def test_a_long_document_is_cut_into_whole_rows_and_a_rest():
    packed = PackedDocuments([np.arange(1, 20), np.arange(101, 106)], T, 4, shuffle=False)
    token_ids, segment_ids, targets, weights = all_rows(packed)
    np.testing.assert_array_equal(token_ids[:2], [np.arange(1, 9), np.arange(9, 17)])
    np.testing.assert_array_equal(targets[:2], [np.arange(2, 10), np.arange(10, 18)])
    np.testing.assert_array_equal(token_ids[2], [17, 18, 19, 101, 102, 103, 104, 105])
    np.testing.assert_array_equal(segment_ids[2], [1, 1, 1, 2, 2, 2, 2, 2])
    np.testing.assert_array_equal(targets[2], [18, 19, 0, 102, 103, 104, 105, 0])
    np.testing.assert_array_equal(weights[2], [1, 1, 0, 1, 1, 1, 1, 0])
    assert not segment_ids[3].any()
    assert packed.counts == PackingCounts(2, 24, 24, 0, 0, 3, 22)


@pytest.mark.parametrize(
    ("long_documents", "kept"), [("truncate", [1, 2, 3, 4, 5, 6, 7, 8, 50, 51]), ("drop", [50, 51])]
)
def test_what_is_asked_to_be_dropped_is_counted(source, long_documents, kept):
    packed = source([np.arange(1, 20), np.array([50, 51])], long_documents=long_documents)
    token_ids, segment_ids, targets, weights = all_rows(packed)
    assert sorted(token_ids[segment_ids > 0]) == kept
    assert set(targets[weights == 1]) == set(kept) - {1, 50}
    counts = packed.counts
    assert (counts.tokens, counts.placed, counts.dropped) == (21, len(kept), 21 - len(kept))
    assert counts.predictions == weights.sum() and f"; {21 - len(kept)} dropped" in str(counts)


def test_a_stream_gives_the_rows_of_documents_in_order():
    given = documents()
    in_order = PackedDocuments(given, T, 4, shuffle=False, open_rows=3)
    stream = PackedStream(iter(given), T, 4, open_rows=3)
    for one, other in zip(all_rows(in_order), all_rows(stream), strict=True):
        np.testing.assert_array_equal(one, other)
    assert in_order.counts == stream.counts


def test_batches_depend_on_seed_epoch_and_index_alone():
    given = documents()

    def batch(seed, epoch, index):
        packed = PackedDocuments(given, T, 4, seed=seed)
        packed.epoch = epoch
        return str(packed[index][0]["token_ids"].tolist())

    packed = PackedDocuments(given, T, 4)
    for _ in range(2):
        packed.on_epoch_end()
    assert batch(0, 2, 5) == str(packed[5][0]["token_ids"].tolist())
    assert len({batch(0, 2, 5), batch(1, 2, 5), batch(0, 3, 5), batch(0, 2, 6), batch(0, 0, 5)}) == 5


def test_a_token_file_is_packed_as_its_documents(tmp_path):
    given = documents()
    write_token_file(tmp_path / "some.tokens", given, 2000)
    file = TokenFile(tmp_path / "some.tokens")
    for one, other in zip(all_rows(PackedDocuments(file, T, 4)), all_rows(PackedDocuments(given, T, 4)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert PackedDocuments(file, T, 4).vocabulary_size == PackedStream(file, T, 4).vocabulary_size == 2000
    sentence = r": the tokens must be of the model's vocabulary of 256\. Got a vocabulary of 2000, in '.*'\.$"
    for packed in (PackedDocuments, PackedStream):
        with pytest.raises(ValueError, match=f"^{packed.__name__}{sentence}"):
            packed(file, T, 4, vocabulary_size=256)


@pytest.mark.parametrize("packed", [PackedDocuments, PackedStream])
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"sequence_length": 1}, r"sequence_length must be an integer of at least 2\. Got 1\."),
        ({"batch_size": 0}, r"batch_size must be an integer of at least 1\. Got 0\."),
        ({"open_rows": 0}, r"open_rows must be an integer of at least 1\. Got 0\."),
        ({"vocabulary_size": -1}, r"vocabulary_size must be an integer of at least 1, or None\. Got -1\."),
        ({"long_documents": "keep"}, r"long_documents must be one of cut, truncate, drop\. Got 'keep'\."),
    ],
)
def test_numbers_that_make_no_rows_are_refused(packed, options, sentence):
    with pytest.raises(ValueError, match=f"^{packed.__name__}: {sentence}$"):
        packed([[1, 2]], **{"sequence_length": T, "batch_size": 4, **options})


def test_an_order_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"^PackedDocuments: seed must be an integer of at least 0\. Got None\.$"):
        PackedDocuments([[1, 2]], T, 4, seed=None)
    with pytest.raises(ValueError, match=r"^PackedDocuments: shuffle must be True or False\. Got 'no'\.$"):
        PackedDocuments([[1, 2]], T, 4, shuffle="no")
    for text in ("text", b"text"):
        with pytest.raises(ValueError, match=r"^PackedStream: documents must be an iterable of integer arrays, or a "):
            PackedStream(text, T, 4)
        with pytest.raises(ValueError, match=r"^PackedDocuments: documents must be a sequence, such as a list or a "):
            PackedDocuments(text, T, 4)


def test_documents_that_are_none_are_refused(source):
    for document, dtype, shape in (([1.0], "float64", "(1,)"), ([[1, 2]], "int64", "(1, 2)"), (b"text", "|S4", "()")):
        with pytest.raises(ValueError) as error:
            list(source([[1, 2], document]))
        sentence = f"a document must be integers of shape (T,). Got dtype {dtype} and shape {shape}, document 1."
        assert str(error.value).split(": ", 1)[1] == sentence


def test_what_can_not_be_read_again_is_refused():
    sentence = r"^PackedDocuments: documents must be a sequence, .* PackedStream takes others\. Got a generator\.$"
    with pytest.raises(ValueError, match=sentence):
        PackedDocuments(iter_of([[1, 2]]), T, 4)
    for nothing in ([], [[], []]):
        sentence = rf"^PackedDocuments: documents must have at least one token\. Got {len(nothing)} empty ones\.$"
        with pytest.raises(ValueError, match=sentence):
            PackedDocuments(nothing, T, 4)
    stream = PackedStream(iter_of([[1, 2]]), T, 4)
    assert len(list(stream)) == 1
    sentence = r"^PackedStream: documents must be a function .* to be read more than once\. Got a generator\.$"
    with pytest.raises(ValueError, match=sentence):
        list(stream)
    again = PackedStream(lambda: iter_of([[1, 2]]), T, 4)
    assert len(list(again)) == len(list(again)) == 1


def iter_of(items):
    yield from items


def test_ids_outside_the_vocabulary_are_refused(source):
    with pytest.raises(ValueError, match=r": token ids must be from 0 to 9\. Got ids from 0 to 10\.$"):
        list(source([[3, 10]], vocabulary_size=10))
    # The last token is only a target.
    with pytest.raises(ValueError, match=r": token ids must be from 0 to 9\. Got ids from 0 to 10\.$"):
        next(iter(source([[*range(T), 10]], vocabulary_size=10)))
    with pytest.raises(ValueError, match=r": token ids must be at least 0\. Got ids from -1 to 3\.$"):
        list(source([[3, -1]]))


def test_a_batch_that_is_not_there_is_refused():
    packed = PackedDocuments([[1, 2]], T, 4)
    for index in (-1, 1):
        with pytest.raises(
            IndexError, match=rf"^PackedDocuments: a batch's index must be from 0 to 0\. Got {index}\.$"
        ):
            packed[index]
