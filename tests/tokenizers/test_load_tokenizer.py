import sys

import pytest

from keras_griffin.tokenizers import ByteTokenizer, HuggingFaceTokenizer, SentencePieceTokenizer, load_tokenizer


@pytest.fixture
def released(gemma_json, gemma_proto, tmp_path):
    """A folder with both files, as models are released."""
    (tmp_path / "tokenizer.json").write_text(gemma_json, encoding="utf-8")
    (tmp_path / "tokenizer.model").write_bytes(gemma_proto)
    return tmp_path


def test_a_folder_without_one_has_none(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text("{}")
    assert load_tokenizer(tmp_path) is None
    assert load_tokenizer(tmp_path / "nowhere") is None


def test_each_file_is_recognised(released):
    assert isinstance(load_tokenizer(released), HuggingFaceTokenizer)
    (released / "tokenizer.json").unlink()
    assert isinstance(load_tokenizer(str(released)), SentencePieceTokenizer)
    ByteTokenizer().save(released)
    assert load_tokenizer(released) == ByteTokenizer()


@pytest.mark.parametrize(
    ("missing", "kind"), [("tokenizers", SentencePieceTokenizer), ("sentencepiece", HuggingFaceTokenizer)]
)
def test_of_two_files_the_one_is_taken_whose_package_is_installed(released, monkeypatch, missing, kind):
    monkeypatch.setitem(sys.modules, missing, None)
    assert isinstance(load_tokenizer(released), kind)


@pytest.mark.parametrize(("file", "package"), [("tokenizer.json", "tokenizers"), ("tokenizer.model", "sentencepiece")])
def test_a_missing_package_is_named(released, monkeypatch, file, package):
    (released / ({"tokenizer.json", "tokenizer.model"} - {file}).pop()).unlink()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"the package {package} must be installed, .*keras-griffin\[tokenizers\]"):
        load_tokenizer(released)
