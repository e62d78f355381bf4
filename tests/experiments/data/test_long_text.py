import gzip

import numpy as np
import pytest

from experiments.data import long_text
from experiments.data.long_text import documents, held_out_windows, random_windows, text_name
from keras_griffin.tasks.text import load_corpus

pytestmark = pytest.mark.any_backend


@pytest.fixture
def novel(tmp_path, monkeypatch):
    """A file of 10,000 bytes, of which the last tenth is held out, in place of the standard library."""
    path = tmp_path / "novel.txt"
    path.write_bytes(np.random.default_rng(0).integers(256, size=10_000, dtype="uint8").tobytes())
    monkeypatch.setenv(long_text.VARIABLE, str(path))
    return path


def test_windows_come_from_random_places_and_ask_for_the_next_byte():
    data = np.arange(100, dtype="uint8")
    batch = random_windows(data, rows=200, length=9, seed=1)
    assert batch.token_ids.shape == (200, 9) and batch.weights.min() == 1
    np.testing.assert_array_equal(batch.targets, batch.token_ids + 1)
    np.testing.assert_array_equal(batch.token_ids - batch.token_ids[:, :1], np.arange(9) + 0 * batch.token_ids[:, :1])
    # Every byte can be a target but the first, the last one too.
    assert set(batch.targets.ravel()) == set(range(1, 100))
    assert not np.array_equal(batch.token_ids, random_windows(data, 200, 9, seed=2).token_ids)


def test_a_file_is_held_out_in_part(novel):
    windows = held_out_windows(5, 300)
    np.testing.assert_array_equal(windows.ravel(), list(novel.read_bytes()[9000:9900]))
    assert len(held_out_windows(2, 300)) == 2 and len(held_out_windows(2, 1000)) == 1
    with pytest.raises(
        ValueError, match=r"held_out_windows: .* must have 1,001 bytes\. Got none in novel\.txt \w{12}\."
    ):
        held_out_windows(5, 1001)
    name = text_name()
    assert name.startswith("novel.txt ")
    novel.write_bytes(b"another")
    assert text_name() != name


def test_a_packed_file_is_unpacked_and_read_in_place_of_the_library(novel, tmp_path, monkeypatch):
    packed = tmp_path / "novel.dict.dz"
    packed.write_bytes(gzip.compress(novel.read_bytes()))
    # The variable comes first.
    assert text_name(packed) == text_name() and long_text.corpus(packed) is long_text.corpus()
    monkeypatch.delenv(long_text.VARIABLE)
    text = long_text.corpus(packed)
    np.testing.assert_array_equal(np.concatenate([text.train, text.validation]), list(novel.read_bytes()))
    assert text_name(packed).startswith("novel.dict.dz ") and text_name(packed) != text_name()
    # Its held-out part is there when what it was unpacked to is not.
    assert held_out_windows(1, 1000, packed).shape == (1, 1000)


def test_documents_are_those_that_were_held_out(tmp_path):
    for number in range(30):
        (tmp_path / f"{number}.txt").write_bytes(bytes([number]) * (100 + number))
    text = load_corpus([tmp_path])
    found = documents(text)
    assert len(found) == len(text.validation_files) and all(len(set(document)) == 1 for document in found)


def test_long_documents_do_not_crowd_out_short_ones(monkeypatch):
    held_out = [np.full(10, 1), np.full(3, 2), np.full(2, 3), np.full(6, 4)]
    monkeypatch.setattr(long_text, "corpus", lambda otherwise: None)
    monkeypatch.setattr(long_text, "documents", lambda text: held_out)
    assert held_out_windows(9, 3)[:, 0].tolist() == [1, 2, 4, 1, 4, 1]
    assert held_out_windows(4, 3)[:, 0].tolist() == [1, 2, 4, 1]


def test_the_standard_library_is_read_without_a_file(monkeypatch):
    monkeypatch.delenv(long_text.VARIABLE, raising=False)
    assert text_name().startswith("the standard library of Python 3.")
    text = long_text.corpus()
    found = documents(text)
    assert len(found) == len(text.validation_files) > 1 and sum(map(len, found)) == len(text.validation)
