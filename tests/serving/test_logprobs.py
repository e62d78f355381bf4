import math

import pytest

from keras_griffin.serving.job import Scored
from keras_griffin.serving.logprobs import LEAST, ChatLogprobs, CompletionLogprobs
from keras_griffin.tokenizers import ByteTokenizer, SentencePieceTokenizer
from tests.tokenizers.conftest import sentencepiece_proto

pytestmark = pytest.mark.any_backend


def scored(token_id, logprob=-0.5, *top):
    return Scored(token_id, logprob, top)


def test_a_chats_are_objects_with_bytes():
    given = [scored(97, -0.5, (97, -0.5), (98, -1.5)), scored(0xC3, -math.inf)]
    assert ChatLogprobs(ByteTokenizer()).of(given) == {
        "content": [
            {
                "token": "a",
                "logprob": -0.5,
                "bytes": [97],
                "top_logprobs": [
                    {"token": "a", "logprob": -0.5, "bytes": [97]},
                    {"token": "b", "logprob": -1.5, "bytes": [98]},
                ],
            },
            {"token": "\ufffd", "logprob": LEAST, "bytes": [0xC3], "top_logprobs": []},
        ],
        "refusal": None,
    }


def test_a_completions_are_lists_and_the_chosen_token_is_among_the_likeliest():
    logprobs = CompletionLogprobs(ByteTokenizer(), is_first=True)
    given = [scored(97, None), scored(98, -3.0, (99, -1.0), (100, -2.0)), scored(99, -1.0, (99, -1.0), (0xFF, -2.0))]
    assert logprobs.of(given) == {
        "tokens": ["a", "b", "c"],
        "token_logprobs": [None, -3.0, -1.0],
        "top_logprobs": [None, {"b": -3.0, "d": -2.0, "c": -1.0}, {"c": -1.0, "bytes:\\xff": -2.0}],
        "text_offset": [0, 1, 2],
    }


@pytest.mark.parametrize("cut", range(12))
def test_an_offset_is_where_the_token_begins_in_the_whole_text(cut):
    """Also after a character of several tokens, and after bytes that are none, wherever chunks are cut."""
    content = "aé€".encode() + b"\xbb\xcb" + b"o5\xe2\x82"
    logprobs = CompletionLogprobs(ByteTokenizer(), is_first=True)
    given = [scored(byte) for byte in content]
    places = logprobs.of(given[:cut])["text_offset"] + logprobs.of(given[cut:])["text_offset"]
    text = content.decode(errors="replace")
    assert text == "aé€\ufffd\ufffdo5\ufffd"
    assert places == [0, 1, 1, 2, 2, 2, 3, 4, 5, 6, 7, 7]


def test_offsets_count_the_text_without_the_space_that_a_first_token_loses():
    tokenizer = SentencePieceTokenizer(sentencepiece_proto())
    text = "the cat sat"
    token_ids = tokenizer.encode(text)
    for is_first, shift in ((True, 0), (False, 1)):
        found = CompletionLogprobs(tokenizer, is_first=is_first).of(map(scored, token_ids))
        whole = " " * shift + text
        for token, place in zip(found["tokens"][1:], found["text_offset"][1:], strict=True):
            wanted = token if is_first is False or place else token.removeprefix(" ")
            assert whole[place : place + len(wanted)] == wanted
