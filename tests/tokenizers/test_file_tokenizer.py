"""The base of tokenizers in files, and their table."""

import inspect
import sys

import pytest

from keras_griffin.tokenizers import load_tokenizer, train_bpe
from keras_griffin.tokenizers.file_tokenizer import FileTokenizer, import_package
from keras_griffin.tokenizers.load_tokenizer import TOKENIZER_FILES, TOKENIZERS

pytestmark = pytest.mark.any_backend


def test_no_two_tokenizers_have_a_file_in_common():
    assert len(set(TOKENIZER_FILES)) == len(TOKENIZER_FILES) == len(TOKENIZERS) + 1
    assert {cls.__name__ for cls in FileTokenizer.__subclasses__()} == {cls.__name__ for cls in TOKENIZERS}


@pytest.mark.parametrize(
    ("file", "package", "owner"),
    [
        ("tokenizer.json", "tokenizers", "HuggingFaceTokenizer"),
        ("tokenizer.model", "sentencepiece", "SentencePieceTokenizer"),
    ],
)
def test_a_missing_package_is_named(gemma_json, gemma_proto, tmp_path, monkeypatch, file, package, owner):
    (tmp_path / file).write_bytes(gemma_json.encode() if package == "tokenizers" else gemma_proto)
    assert inspect.ismodule(import_package("f", package))
    monkeypatch.setitem(sys.modules, package, None)
    uses = [(owner, lambda: load_tokenizer(tmp_path)), ("f", lambda: import_package("f", package))]
    if package == "tokenizers":
        uses.append(("train_bpe", lambda: train_bpe(["a"], 257)))
    for name, use in uses:
        with pytest.raises(ImportError) as error:
            use()
        assert str(error.value) == (
            f"{name}: the package {package} must be installed, for instance with pip install "
            "'keras-griffin[tokenizers]'."
        )
