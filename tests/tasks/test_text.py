import os
from pathlib import Path

import numpy as np
import pytest

from keras_griffin.tasks.text import CorpusError, load_corpus

pytestmark = pytest.mark.any_backend


def write_files(folder, contents):
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def random_files(rng, number):
    """Files of all sizes and any bytes, some empty and some the same as others."""
    files = {}
    for index in range(number):
        if files and rng.random() < 0.3:
            content = files[list(files)[rng.integers(len(files))]]
        else:
            content = rng.integers(256, size=int(rng.exponential(300)), dtype="uint8").tobytes()
        files[f"{rng.integers(5)}/{index}.bin"] = content
    return files


@pytest.mark.parametrize("seed", range(5))
def test_a_split_by_file_gives_every_distinct_content_to_exactly_one_side(tmp_path, seed):
    rng = np.random.default_rng(seed)
    files = random_files(rng, number=int(rng.integers(3, 200)))
    corpus = load_corpus([write_files(tmp_path / "files", files)], seed=seed, include_binary=True)

    def contents(names):
        return [Path(name).read_bytes() for name in names]

    train, validation = contents(corpus.train_files), contents(corpus.validation_files)
    assert sorted(train + validation) == sorted(set(files.values()) - {b""})
    assert b"".join(train) == corpus.train.tobytes()
    assert b"".join(validation) == corpus.validation.tobytes()


def test_of_few_large_files_the_smallest_is_held_out(tmp_path):
    folder = write_files(tmp_path / "files", {"a": b"a" * 300, "b": b"b" * 200, "c": b"c" * 400})
    corpus = load_corpus([folder])
    assert corpus.validation_files == (str(folder / "b"),)


def test_a_single_file_is_split_by_position(tmp_path):
    data = bytes(range(256)) * 4
    (tmp_path / "one").write_bytes(data)
    corpus = load_corpus([tmp_path / "one"])
    assert corpus.train.tobytes() + corpus.validation.tobytes() == data
    assert len(corpus.validation) == 102
    assert corpus.train.dtype == np.uint8


def test_what_is_left_out_below_a_folder_is_read_where_it_is_asked_for(tmp_path):
    contents = {"a": b"one", "b": b"two", "c": b"\0three", "run/log.csv": b"four"}
    folder = write_files(tmp_path / "files", contents)
    corpus = load_corpus([folder], holds_run=lambda path: path.name == "run")
    assert sorted(corpus.train_files + corpus.validation_files) == [str(folder / "a"), str(folder / "b")]
    assert len(corpus.train) + len(corpus.validation) == 6
    assert corpus.left_out == "1 binary file (6 bytes), 1 folder that holds a run"
    everything = load_corpus([folder, folder / "c"], include_binary=True)
    assert len(everything.train) + len(everything.validation) == 16
    assert everything.left_out == "1 copy of another file"
    with pytest.raises(CorpusError, match=r"Got none from .*run, leaving out 1 folder that holds a run\.$"):
        load_corpus([folder / "run"], holds_run=lambda path: path.name == "run")


def test_the_standard_library_is_the_text_when_no_path_is_given():
    corpus = load_corpus()
    files = corpus.train_files + corpus.validation_files
    assert "ast.py" in files and os.path.join("json", "decoder.py") in files
    assert all(name.endswith(".py") for name in files)
    assert not any({"site-packages", "test", "tests"} & set(name.split(os.sep)) for name in files)
    assert 5e6 < len(corpus.train) + len(corpus.validation) < 30e6
    assert 0.03 < len(corpus.validation) / (len(corpus.train) + len(corpus.validation)) < 0.05


def test_a_missing_path_is_refused():
    with pytest.raises(CorpusError, match=r"^load_corpus: a path must exist\. Got 'no/such/file'\.$"):
        load_corpus(["no/such/file"])


def test_an_empty_corpus_is_refused(tmp_path):
    write_files(tmp_path / "files", {"a": b"", "b": b""})
    with pytest.raises(CorpusError, match=r"a corpus must have at least one byte\. Got none from .*files\.$"):
        load_corpus([tmp_path / "files"])


def test_a_corpus_too_short_for_a_window_is_refused(tmp_path):
    (tmp_path / "short").write_bytes(b"x" * 100)
    sentence = r"the training and the validation part must have at least 65 bytes each\. Got 90 and 10 from .*short\.$"
    with pytest.raises(CorpusError, match=sentence):
        load_corpus([tmp_path / "short"], least_bytes=65)


@pytest.mark.parametrize("start", range(4))
def test_a_single_file_of_characters_is_cut_between_two(tmp_path, start):
    data = (b"x" * start) + "😀".encode() * 50
    (tmp_path / "one").write_bytes(data)
    corpus = load_corpus([tmp_path / "one"], characters=True)
    train, validation = corpus.train.tobytes(), corpus.validation.tobytes()
    assert train + validation == data and (train.decode() + validation.decode()).endswith("😀")
    assert 20 <= len(validation) < 24


def test_a_file_that_is_not_utf_8_is_refused_where_characters_are_wanted(tmp_path):
    folder = write_files(tmp_path / "files", {"a": b"one", "b": b"tw\xff", "c": b"three"})
    with pytest.raises(CorpusError) as error:
        load_corpus([folder], characters=True)
    assert str(error.value) == (
        f"load_corpus: a text must be UTF-8 unless the tokens are bytes. Got {folder / 'b'}, with an invalid byte at 2."
    )
    assert load_corpus([folder]).train.size
