import keras
import numpy as np
import pytest

from keras_griffin.distribution import LocalRows
from keras_griffin.training import PackedDocuments, RandomWindows, TokenFile, write_token_file
from keras_griffin.training.resuming import run_description as corpus
from keras_griffin.training.resuming.run_description import describe_corpus

pytestmark = pytest.mark.any_backend

DOCUMENTS = [np.arange(length) for length in (9, 4, 17)]


class Holding(keras.utils.PyDataset):
    num_batches = 1

    def __init__(self, value, private=None):
        super().__init__()
        self.value, self._private = value, private

    def __getitem__(self, index):
        return np.zeros((1, 1))


def of(value):
    return describe_corpus(Holding(value))


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        (np.arange(8), np.arange(8)[::-1], "8 tokens"),
        (np.zeros(3), np.ones(3), "3 numbers"),
        (np.zeros((2, 3)), np.ones((2, 3)), "numbers (2, 3)"),
        ([1, 2, 3], [1, 2, 4], "3 tokens"),
        (DOCUMENTS, [*DOCUMENTS[:2], np.arange(17)[::-1]], "3 documents of 30 tokens"),
        # Where one ends and another begins.
        ([[1, 2], [3]], ([1], [2, 3]), "2 documents of 3 tokens"),
        (["ab", "é"], ["ab", "è"], "2 documents of 4 bytes"),
    ],
)
def test_one_corpus_is_not_another(one, other, words):
    assert of(one) == of(one) != of(other)
    assert of(one)["value"][0] == of(other)["value"][0] == words


def test_a_corpus_is_the_same_in_another_order_of_memory_or_list():
    grid = np.arange(12.0).reshape(3, 4)
    assert of(grid) == of(np.asfortranarray(grid))
    assert of(DOCUMENTS) == of([document.tolist() for document in DOCUMENTS]) == of(tuple(DOCUMENTS))
    assert of(keras.ops.convert_to_tensor(grid, "float32")) == of(grid.astype("float32"))


def test_parts_by_name_and_datasets_in_datasets_are_looked_into():
    assert set(of({"x": np.zeros(2), "y": np.zeros(2)})) == {"value.x", "value.y"}
    assert set(describe_corpus(LocalRows(RandomWindows(np.arange(20), 4, 2, 1), 0, 2))) == {"data.text"}
    assert set(describe_corpus(PackedDocuments(DOCUMENTS, 8, 2))) == {"documents"}


def test_what_is_private_or_cannot_be_read_is_left_alone():
    for value in (None, 3, "text", object(), [], [object()], np.array([object()]), iter([])):
        assert describe_corpus(Holding(value, private=np.zeros(3))) == {}


def test_a_token_file_is_known_by_its_own_checksum(tmp_path):
    files = []
    for name, last in (("a", 16), ("b", 15)):
        write_token_file(tmp_path / name, [*DOCUMENTS[:2], np.arange(17) % (last + 1)], vocabulary_size=32)
        files.append(TokenFile(tmp_path / name))
    one, other = map(of, files)
    assert one == {"value": ["3 documents of 30 tokens", files[0].checksum]} and one != other


def test_of_what_is_too_large_samples_are_read(monkeypatch):
    monkeypatch.setattr(corpus, "WHOLE_BYTES", 100)
    monkeypatch.setattr(corpus, "SAMPLES", 4)
    monkeypatch.setattr(corpus, "SAMPLE_BYTES", 16)
    text = np.arange(400).astype("uint16")
    before = of(text)
    for place, is_seen in ((0, True), (399, True), (20, False)):
        changed = text.copy()
        changed[place] += 1
        assert (of(changed) != before) == is_seen
    assert before["value"][0] == "400 tokens"
