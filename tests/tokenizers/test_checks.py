import pytest

from keras_griffin.tokenizers import ByteTokenizer
from keras_griffin.tokenizers.checks import check_characters, check_id, check_is_tokenizer

pytestmark = pytest.mark.any_backend


def test_ids_and_characters():
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
