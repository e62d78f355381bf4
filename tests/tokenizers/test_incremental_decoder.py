import random

import pytest

from keras_griffin.tokenizers import ByteTokenizer, SentencePieceTokenizer
from keras_griffin.tokenizers.incremental_decoder import IncrementalDecoder

pytestmark = pytest.mark.any_backend

ALPHABETS = [
    "abc THE,.\n",
    "éèß Ωж",
    "これは本です漢字",
    "😀👩‍👩‍👧🏳️‍🌈\U0010ffff",
    "e\u0301\u0308\u200d\ufe0f",
    "\x00\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\U00010000\ufffd",
]


def pieces(tokenizer, ids):
    decoder = IncrementalDecoder(tokenizer)
    return [*(decoder.push(token_id) for token_id in ids), decoder.flush()]


def random_text(chance):
    alphabet = "".join(chance.sample(ALPHABETS, k=chance.randint(1, len(ALPHABETS))))
    return "".join(chance.choice(alphabet) for _ in range(chance.randint(0, 40)))


@pytest.mark.parametrize("seed", range(20))
def test_the_pieces_of_a_text_and_of_any_ids_make_their_text(tokenizer, seed):
    chance = random.Random(seed)
    ids = tokenizer.encode(random_text(chance))
    assert "".join(pieces(tokenizer, ids)) == tokenizer.decode(ids)
    ids = [chance.randrange(tokenizer.vocabulary_size) for _ in range(chance.randint(0, 60))]
    text = b"".join(tokenizer.token_bytes(token_id) for token_id in ids).decode("utf-8", "replace")
    assert "".join(pieces(tokenizer, ids)) == tokenizer.decode(ids)
    # But for the space before the first word.
    assert tokenizer.decode(ids) in (text, text.replace(" ", "", 1))


@pytest.mark.parametrize("seed", range(200))
def test_bytes_become_text_as_soon_as_they_can(seed):
    """The pieces so far are all but what the next bytes may still change."""
    chance = random.Random(seed)
    kinds = [range(256), b"\xe0\xed\xf0\xf4\xc3\x80\x8f\x90\x9f\xa0\xbf", "é本😀".encode()]
    data = bytes(chance.choice(chance.choice(kinds)) for _ in range(12))
    made = pieces(ByteTokenizer(), data)
    for end in range(1, len(data) + 1):
        so_far = data[:end].decode("utf-8", "replace")
        begun = any(may_become_a_character(data[end - length : end]) for length in range(1, min(3, end) + 1))
        assert "".join(made[:end]) == (so_far[:-1] if begun else so_far)


def may_become_a_character(part):
    """Whether bytes are the beginning of a character's UTF-8, by trying the first and the last that begin so."""
    missing = {**dict.fromkeys(range(0xC2, 0xE0), 1), **dict.fromkeys(range(0xE0, 0xF0), 2)}
    missing = {**missing, **dict.fromkeys(range(0xF0, 0xF5), 3)}.get(part[0], 0) - (len(part) - 1)
    return missing > 0 and any(is_utf8(part + bytes([end] * missing)) for end in (0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF))


def is_utf8(data):
    try:
        return bool(data.decode())
    except UnicodeDecodeError:
        return False


def test_a_begun_character_is_flushed_and_another_text_may_follow():
    decoder = IncrementalDecoder(ByteTokenizer())
    assert [decoder.push(0xE2), decoder.flush(), decoder.flush(), decoder.push(0x61)] == ["", "\ufffd", "", "a"]


def test_the_space_before_a_text_is_left_out_and_those_between_words_stay(prefix_proto):
    tokenizer = SentencePieceTokenizer(prefix_proto)
    decoder = IncrementalDecoder(tokenizer)
    for _ in range(2):
        ids = tokenizer.encode("the cat")
        assert "".join([*map(decoder.push, ids), decoder.flush()]) == "the cat"
