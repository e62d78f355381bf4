"""The contract in `tokenizers/__init__.py`, for every kind of tokenizer; bytes, and the checks of all."""

import copy
import json
import pickle

import keras
import numpy as np
import pytest

from keras_griffin.tokenizers import ByteTokenizer
from keras_griffin.tokenizers.checks import check_characters, check_id, check_is_tokenizer, naming
from keras_griffin.tokenizers.load_tokenizer import TOKENIZER_FILES, load_tokenizer

pytestmark = pytest.mark.any_backend

TEXTS = [
    "",
    "hello world",
    "the  cat\n\n\n  sat",
    "là où ils étaient",
    "これは本です",
    "👩‍👩‍👧 e\u0301 \U0010ffff",
    "a\ufffdb",
    "\ttabs and <brackets> ▂",
]


def normalised(tokenizer, text):
    """What is left of a text by a SentencePiece model that changes white space and letters."""
    processor = getattr(tokenizer, "_processor", None)
    return processor.decode(processor.encode(text)) if processor else text


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_comes_back_from_integers_of_the_vocabulary(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == normalised(tokenizer, text)
    assert all(type(token_id) is int and 0 <= token_id < tokenizer.vocabulary_size for token_id in ids)
    special = [tokenizer.pad_id, *tokenizer.stop_ids, *([] if tokenizer.start_id is None else [tokenizer.start_id])]
    assert all(type(token_id) is int and 0 <= token_id < tokenizer.vocabulary_size for token_id in special)


def test_a_text_begins_with_the_start_token_where_the_models_want_one(tokenizer):
    assert not tokenizer.encode("", start=False)
    assert tokenizer.encode("") + tokenizer.encode("the", start=False) == tokenizer.encode("the")


def test_all_kinds_of_ids_are_decoded(tokenizer):
    ids = tokenizer.encode("the cat")
    arrays = [np.array(ids), np.array(ids, "uint16"), keras.ops.convert_to_tensor(ids, "int32"), tuple(ids)]
    assert {tokenizer.decode(array) for array in arrays} == {"the cat"}
    assert tokenizer.decode([]) == tokenizer.decode(np.array([], "int32")) == ""


def test_wrong_ids_and_half_characters_are_refused(tokenizer):
    for ids in ([[1, 2]], 3, [1.5]):
        with pytest.raises(ValueError, match=r"decode: token_ids must be integers \(T,\). Got "):
            tokenizer.decode(ids)
    for token_id in (-1, tokenizer.vocabulary_size):
        with pytest.raises(ValueError, match=f"decode: an id must be at least 0 and below .* Got {token_id}."):
            tokenizer.decode([token_id])
    with pytest.raises(ValueError, match=r"encode: the text must be characters.*Got .*'\\ud800' at 1."):
        tokenizer.encode("a\ud800")


def test_saved_and_loaded_it_is_the_same(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "new" / "folder")
    loaded = load_tokenizer(tmp_path / "new" / "folder")
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} <= set(TOKENIZER_FILES)
    assert loaded == tokenizer and hash(loaded) == hash(tokenizer)
    assert loaded.encode("the cat") == tokenizer.encode("the cat")
    assert (loaded.start_id, loaded.stop_ids, loaded.pad_id) == (
        tokenizer.start_id,
        tokenizer.stop_ids,
        tokenizer.pad_id,
    )


@pytest.mark.parametrize("through", ["keras", "pickle", "deepcopy"])
def test_copies_are_the_same(tokenizer, through):
    copied = {
        "keras": lambda: keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(tokenizer)),
        "pickle": lambda: pickle.loads(pickle.dumps(tokenizer)),
        "deepcopy": lambda: copy.deepcopy(tokenizer),
    }[through]()
    assert copied is not tokenizer and copied == tokenizer and hash(copied) == hash(tokenizer)
    assert copied.encode("the cat 😀") == tokenizer.encode("the cat 😀")


def test_the_ids_are_the_bytes():
    tokenizer = ByteTokenizer()
    assert tokenizer.encode("né€😀") == list("né€😀".encode())
    assert (tokenizer.vocabulary_size, tokenizer.start_id, tokenizer.stop_ids, tokenizer.pad_id) == (256, 10, (), 0)
    # Of a command line, too.
    data = bytes(range(256))
    assert tokenizer.encode(data.decode("utf-8", "surrogateescape")) == list(data)


@pytest.mark.parametrize("data", [b"\xff", b"a\xe2\x82b", b"\xf0\x9f\x98", b"\x80\x80", bytes(range(256))])
def test_bytes_that_are_not_utf8_are_replaced(data):
    assert ByteTokenizer().decode(list(data)) == data.decode("utf-8", "replace")


def test_its_file_has_a_name_of_its_own(tmp_path):
    ByteTokenizer().save(tmp_path)
    (file,) = tmp_path.iterdir()
    assert file.name == "byte_tokenizer.json" and json.loads(file.read_text()) == {"tokenizer": "bytes"}


def test_ids_and_characters():
    with pytest.raises(ValueError, match="^a rule. Got 3, in 'file'.$"), naming("file"):
        raise ValueError("a rule. Got 3.")
    check_id(0, 2)
    check_id(1, 2)
    for token_id in (-1, 2):
        message = f"decode: an id must be at least 0 and below the vocabulary's size 2. Got {token_id}."
        with pytest.raises(ValueError, match=message):
            check_id(token_id, 2)
    check_characters("né€😀\ufffd")
    with pytest.raises(ValueError, match=r"encode: the text must be characters only. Got the surrogate '\\udcff' at 2"):
        check_characters("ab\udcff")


def test_what_is_no_tokenizer_is_refused():
    check_is_tokenizer("f", ByteTokenizer())
    for nothing in ("bytes", ByteTokenizer, None):
        with pytest.raises(ValueError, match=r"^f: a tokenizer must be one of keras_griffin\.tokenizers, such as "):
            check_is_tokenizer("f", nothing)
