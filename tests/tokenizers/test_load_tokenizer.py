import json
import sys

import keras
import pytest

from keras_griffin.tokenizers import ByteTokenizer, HuggingFaceTokenizer, SentencePieceTokenizer, load_tokenizer

pytestmark = pytest.mark.any_backend


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


def bpe(**changes):
    """A tokenizer of one letter."""
    return json.dumps({"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], **changes}})


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("byte_tokenizer.json", b"{", r"ByteTokenizer: byte_tokenizer\.json must be JSON\. Got '{path}': .*"),
        ("byte_tokenizer.json", b"{}", r"ByteTokenizer: byte_tokenizer\.json must hold .* Got \{{\}} in '{path}'"),
        ("tokenizer.json", b"{", r"HuggingFaceTokenizer: the file must be .* Got EOF while parsing .*, in '{path}'"),
        ("tokenizer.json", b"\xff", r"HuggingFaceTokenizer: the file must be .* Got 'utf-8' codec .*, in '{path}'"),
        ("tokenizer.json", b"[" * 10**5, r"HuggingFaceTokenizer: the file must be .* Got .*, in '{path}'"),
        ("tokenizer.json", bpe(vocab={}), r"HuggingFaceTokenizer: the ids must be .* Got none, in '{path}'"),
        (
            "tokenizer.json",
            bpe(vocab={"a": 2**31}),
            r"HuggingFaceTokenizer: the ids must be below 1048576, and at least one\. Got 2147483648, in '{path}'",
        ),
        (
            "tokenizer.json",
            bpe(type="WordLevel", unk_token="?"),
            r"encode: the tokenizer must have a token for every part of the text\. Got WordLevel .*, in '{path}'",
        ),
        ("special_ids.json", b"[]", r"HuggingFaceTokenizer: special_ids\.json must be a JSON object\. Got '{path}' .*"),
        ("special_ids.json", b'{"x": 1}', r"HuggingFaceTokenizer: the special ids must be .* Got x, in '{path}'"),
        (
            "special_ids.json",
            b'{"start_id": "x"}',
            r"HuggingFaceTokenizer: start_id must be an id from 0 to \d+, or None\. Got 'x', in '{path}'",
        ),
        (
            "special_ids.json",
            b'{"stop_ids": [1, -1]}',
            r"HuggingFaceTokenizer: stop_ids must be a list or tuple of ids from 0 .* Got \[1, -1\], in '{path}'",
        ),
        ("special_ids.json", b'{"stop_ids": 1}', r"HuggingFaceTokenizer: stop_ids .* Got 1, in '{path}'"),
        ("special_ids.json", b'{"pad_id": null}', r"HuggingFaceTokenizer: pad_id must be .* Got None, in '{path}'"),
        ("tokenizer.model", b"none", r"SentencePieceTokenizer: proto must be .* Got '{path}', which is not one"),
    ],
)
def test_a_damaged_file_is_named_with_its_rule(released, name, content, sentence):
    if name == "tokenizer.model":
        (released / "tokenizer.json").unlink()
    path = released / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match="^" + sentence.format(path=path) + r"\.$"):
        load_tokenizer(released)


@pytest.mark.parametrize(
    ("kind", "config", "sentence"),
    [
        (HuggingFaceTokenizer, {"json": "{"}, "HuggingFaceTokenizer: the file must be a tokenizer .* Got EOF .*"),
        (HuggingFaceTokenizer, {}, "HuggingFaceTokenizer: the file must be a tokenizer .* Got None"),
        (HuggingFaceTokenizer, {"json": bpe(), "x": 1}, "HuggingFaceTokenizer: the special ids must be .* Got x"),
        (SentencePieceTokenizer, {"proto": "!"}, r"SentencePieceTokenizer: its config must hold a proto in .* Got .*"),
        (
            SentencePieceTokenizer,
            {},
            r"SentencePieceTokenizer: its config must hold a proto in base64\. Got KeyError.*",
        ),
        (SentencePieceTokenizer, {"proto": ""}, "SentencePieceTokenizer: proto must be .* Got 0 bytes, .*"),
        (ByteTokenizer, {"a": 1}, "ByteTokenizer: its config must be empty. Got {'a': 1}"),
    ],
)
def test_a_damaged_config_is_refused(kind, config, sentence):
    """As in a `.keras` file."""
    saved = {**keras.saving.serialize_keras_object(ByteTokenizer()), "config": config}
    saved |= {"class_name": kind.__name__, "registered_name": f"keras_griffin>{kind.__name__}"}
    saved["module"] = kind.__module__
    with pytest.raises(ValueError, match=rf"^{sentence}\.$"):
        keras.saving.deserialize_keras_object(saved)
