import random

import pytest

from keras_griffin.tokenizers import train_bpe

pytestmark = pytest.mark.any_backend

TEXTS = ["def f(x):\n    return x + 1\n", "the cat sat on the mat, and là où ils étaient これは本です " * 5, ""]


@pytest.fixture(scope="module")
def tokenizer():
    return train_bpe(TEXTS, 300)


def random_text(seed):
    """Characters of one to four bytes, and spaces of all kinds."""
    chance = random.Random(seed)
    ranges = [(0, 0x7F), (9, 14), (0x80, 0x7FF), (0x800, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x10FFFF)]
    return "".join(chr(chance.randint(*chance.choice(ranges))) for _ in range(200))


@pytest.mark.parametrize("seed", range(10))
def test_any_text_is_written_as_it_is(tokenizer, seed):
    text = random_text(seed)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()


@pytest.mark.parametrize(
    "text", ["", " ", "  the", "the<|endoftext|>", "\r\n\ufeff\ufffd\0", "e\u0301 \u00e9", "<|endoftext|>"]
)
def test_nothing_is_added_normalised_or_special(tokenizer, text):
    ids = tokenizer.encode(text)
    assert 0 not in ids and tokenizer.decode(ids) == text


def test_every_byte_is_a_token(tokenizer):
    written = [tokenizer.token_bytes(token_id) for token_id in range(1, 257)]
    assert sorted(written) == [bytes([byte]) for byte in range(256)]


def test_what_is_met_often_becomes_a_token(tokenizer):
    assert tokenizer.vocabulary_size == 300
    assert len(tokenizer.encode(TEXTS[1])) < len(TEXTS[1].encode()) / 2


def test_the_same_texts_give_the_same_tokenizer(tokenizer):
    assert train_bpe(iter(TEXTS), 300) == tokenizer
    assert train_bpe(iter(TEXTS), 301) != tokenizer


@pytest.mark.parametrize(
    ("texts", "size", "sentence"),
    [
        (TEXTS, 256, "vocabulary_size must be an integer from 257 to 1048576. Got 256."),
        (TEXTS, 10**9, "vocabulary_size must be an integer from 257 to 1048576. Got 1000000000."),
        (TEXTS, 300.0, "vocabulary_size must be an integer from 257 to 1048576. Got 300.0."),
        ("some text", 300, "texts must be several texts, or a list of one. Got the text 'some text'."),
        ([], 300, "texts must have at least one character. Got 0 empty texts."),
        (["", ""], 300, "texts must have at least one character. Got 2 empty texts."),
        (["a", b"b"], 300, "a text must be a str. Got bytes as text 1."),
        (["a\udcff"], 300, r"the text must be characters only. Got the surrogate '\udcff' at 1."),
    ],
)
def test_what_can_not_be_learnt_from_is_refused(texts, size, sentence):
    with pytest.raises(ValueError) as error:
        train_bpe(texts, size)
    assert str(error.value) == f"train_bpe: {sentence}"
