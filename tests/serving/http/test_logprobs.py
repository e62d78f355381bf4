import math

import pytest

from keras_griffin.serving.engine.job import Scored
from keras_griffin.serving.http.logprobs import LEAST, ChatLogprobs, CompletionLogprobs
from keras_griffin.tokenizers import ByteTokenizer, SentencePieceTokenizer
from tests.tokenizers.conftest import sentencepiece_proto

pytestmark = pytest.mark.any_backend


def scored(token_id, logprob=-0.5, *top):
    return Scored(token_id, logprob, top)


def test_a_chats_are_objects_with_bytes():
    given = [scored(97, -0.5, (97, -0.5), (98, -1.5)), scored(0xC3, -math.inf), scored(98, math.nan)]
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
            {"token": "b", "logprob": LEAST, "bytes": [98], "top_logprobs": []},
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


@pytest.mark.parametrize(
    "content", ["aé€😀b".encode(), b"\xbb\xcbo5\xe2\x82", b"\xc3\xc3\xff\xed\xa0\x80\xf0\x80\xe2\x82a"]
)
def test_an_offset_is_the_place_of_the_character_that_a_token_begins_in(content):
    """Also of one of several tokens, and among bytes that are none, wherever chunks are cut."""
    wanted = [len(content[: end + 1].decode(errors="replace")) - 1 for end in range(len(content))]
    for cut in range(len(content)):
        logprobs = CompletionLogprobs(ByteTokenizer(), is_first=True)
        parts = [content[:cut], content[cut:]]
        assert sum((logprobs.of(map(scored, part))["text_offset"] for part in parts), []) == wanted


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
