import json
from types import SimpleNamespace

import numpy as np
import pytest

from keras_griffin.serving.http.fields import Limits
from keras_griffin.serving.http.protocol import Protocol
from keras_griffin.serving.http.refusal import Refusal
from keras_griffin.tokenizers import ByteTokenizer
from keras_griffin.tokenizers.chat import find_end_of_turn

pytestmark = pytest.mark.any_backend

LIMITS = Limits(tokens=100, prompt_tokens=12, prompts=3, choices=4, seconds=60.0, all_choices=99)
#: Reads a state of the text "state", whose answer had not ended.
SIGNED = SimpleNamespace(read=lambda text: (text, False))
HELLO = [{"role": "user", "content": "hello"}]


def protocol(tokenizer=None, size=256, limits=LIMITS):
    return Protocol("tiny", tokenizer or ByteTokenizer(), size, limits, SIGNED)


def body(**content):
    return json.dumps({"model": "tiny", **content}).encode()


def jobs(asked):
    return [job for group in asked.jobs(lambda index, event: None) for job in group]


def complete(**content):
    return protocol().completion(body(**content))


def chat(tokenizer=None, **content):
    return protocol(tokenizer).chat(body(**{"messages": HELLO, **content}))


def refused(ask, **content):
    with pytest.raises(Refusal) as raised:
        ask(**content)
    return raised.value


@pytest.mark.parametrize(
    ("prompt", "rows"),
    [
        ("hi", [b"hi"]),
        (["hi", "é"], [b"hi", "é".encode()]),
        ([104, 105], [b"hi"]),
        ([[104], [105, 33]], [b"h", b"i!"]),
        # An empty one begins with the start token.
        ("", [b"\n"]),
        (["", "a"], [b"\n", b"a"]),
        (None, [b"\n"]),
    ],
)
def test_a_prompt_is_a_text_or_ids_or_several(prompt, rows):
    prompts = complete(prompt=prompt).prompts
    assert [bytes(segment.tolist()) for (segment,), _ in prompts] == rows
    assert all(segment.dtype == np.int32 for (segment,), _ in prompts)


def test_the_defaults_are_openais():
    (job,) = jobs(complete(prompt="hi"))
    assert (job.most_tokens, job.temperature, job.top_p, job.index) == (16, 1, 1, 0)
    assert (job.top_logprobs, job.stop_strings, job.is_line, job.stop_ids) == (None, (), False, frozenset())
    assert (job.scores_prompt, job.state, job.returns_state, job.seconds) == (False, None, False, 60)
    (job,) = jobs(chat())
    assert job.most_tokens == 100 and job.is_line


def test_each_choice_has_the_seed_and_an_index_of_its_own():
    """So choice j of a prompt is row j of `generate([prompt] * n, seed=seed)`."""
    delivered = []
    groups = complete(prompt=["a", "b"], n=3, seed=7).jobs(lambda *call: delivered.append(call))
    assert [[(job.seed, job.index) for job in group] for group in groups] == [[(7, 0), (7, 1), (7, 2)]] * 2
    for group in groups:
        for job in group:
            job.deliver("event")
    assert delivered == [(index, "event") for index in range(6)]


def test_without_a_seed_each_request_has_its_own():
    seeds = {jobs(chat())[0].seed for _ in range(20)}
    assert len(seeds) == 20 and max(seeds) > 2**32
    assert jobs(chat(seed=-1))[0].seed == 2**64 - 1 and jobs(chat(seed=5))[0].seed == 5


def test_what_is_asked_of_the_sampling_reaches_the_engine():
    (job,) = jobs(complete(prompt="a", temperature=0.5, top_p=0.3, stop=["x", "y"], max_tokens=5, logprobs=3))
    assert (job.temperature, job.top_p, job.stop_strings, job.most_tokens) == (0.5, 0.3, ("x", "y"), 5)
    assert job.top_logprobs == 3 and not job.scores_prompt
    assert jobs(complete(stop="xy"))[0].stop_strings == ("xy",)
    # In float32 they would be 0.
    (job,) = jobs(chat(temperature=1e-300, top_p=1e-300))
    assert job.temperature == 0 and np.float32(job.top_p) > 0


@pytest.mark.parametrize(
    ("asked", "top"),
    [
        ({}, None),
        ({"logprobs": False}, None),
        ({"logprobs": True}, 0),
        ({"logprobs": True, "top_logprobs": 5}, 5),
    ],
)
def test_log_probabilities_of_a_chat(asked, top):
    assert jobs(chat(**asked))[0].top_logprobs == top


def test_echo_scores_the_prompt_if_anything_is_scored():
    asked = complete(prompt="ab", echo=True, max_tokens=0, logprobs=0)
    (job,) = jobs(asked)
    assert job.scores_prompt and job.most_tokens == 0 and asked.prompts[0].echo == "ab"
    assert complete(prompt=[99, 100], echo=True).prompts[0].echo == "cd"
    assert not jobs(complete(prompt="ab", echo=True))[0].scores_prompt


@pytest.mark.parametrize(("asked", "most"), [({"max_tokens": 5}, 5), ({"max_completion_tokens": 6}, 6)])
def test_either_name_of_the_limit(asked, most):
    assert jobs(chat(**asked))[0].most_tokens == most
    assert jobs(chat(max_tokens=9, max_completion_tokens=8))[0].most_tokens == 8


def test_an_answer_in_turns_ends_with_its_marker(gemma_tokenizer):
    end = find_end_of_turn(gemma_tokenizer)
    gemma = protocol(gemma_tokenizer, gemma_tokenizer.vocabulary_size, LIMITS._replace(prompt_tokens=50))
    (job,) = jobs(gemma.chat(body(messages=[{"role": "user", "content": "a"}])))
    assert job.stop_ids == {end, *gemma_tokenizer.stop_ids} and not job.is_line
    (job,) = jobs(gemma.completion(body(prompt="a")))
    assert job.stop_ids == {*gemma_tokenizer.stop_ids}
    assert gemma.is_ended(end, "stop") and not gemma.is_ended(end, "length")
    assert not gemma.is_ended(gemma_tokenizer.stop_ids[0], "stop") and not gemma.is_ended(None, "stop")


def test_an_answer_in_lines_ends_with_a_line_break():
    lines = protocol()
    assert lines.is_ended(10, "stop") and not lines.is_ended(97, "stop") and not lines.is_ended(10, "length")


def test_a_state_goes_to_the_engine_and_comes_back():
    (job,) = jobs(complete(prompt="a", state=True))
    assert job.state is None and job.returns_state
    (job,) = jobs(complete(prompt="", state="state"))
    assert job.state == "state" and job.returns_state and len(job.token_ids) == 0
    (job,) = jobs(chat(state="state"))
    # That of an answer without its end.
    assert bytes(job.token_ids.tolist()) == b"\nhello\n"
    assert len(jobs(chat(messages=[], state="state"))[0].token_ids) == 0


STATE = "state must go with one prompt and n: 1."


@pytest.mark.parametrize(
    ("ask", "content", "sentence", "param"),
    [
        (complete, {"best_of": 2}, "best_of must be n. Got 2 and 1.", "best_of"),
        (complete, {"max_tokens": 0}, "max_tokens must be at least 1 without echo. Got 0.", "max_tokens"),
        (complete, {"prompt": ["a"] * 4}, "prompt must have at most 3 rows. Got 4.", "prompt"),
        (complete, {"prompt": "a" * 13}, "prompt must have at most 12 tokens. Got 13.", "prompt"),
        (complete, {"prompt": [256]}, None, "prompt"),
        (complete, {"prompt": [[1], [-1]]}, None, "prompt"),
        (complete, {"prompt": [10**30]}, None, "prompt"),
        (complete, {"state": True, "n": 2}, STATE, "state"),
        (complete, {"state": "state", "prompt": ["a", "b"]}, STATE, "state"),
        (chat, {"state": True, "n": 2}, STATE, "state"),
        (chat, {"top_logprobs": 1}, "top_logprobs must go with logprobs: true.", "top_logprobs"),
        (
            chat,
            {"messages": [{"role": "user", "content": "a" * 12}]},
            "messages must have at most 12 tokens. Got 13.",
            "messages",
        ),
        (chat, {"model": None}, "model must be 'tiny'. Got none.", "model"),
    ],
)
def test_what_does_not_go_together_is_refused(ask, content, sentence, param):
    refusal = refused(ask, **content)
    assert refusal.status == 400 and refusal.param == param
    if sentence is None:
        sentence = "prompt must have ids at least 0 and below the vocabulary's size 256. Got "
        assert str(refusal).startswith(sentence)
    else:
        assert str(refusal) == sentence
    assert (refusal.code == "context_length_exceeded") == ("tokens. Got" in sentence)


def test_another_model_is_not_found():
    refusal = refused(chat, model="gpt")
    assert (refusal.status, refusal.code, str(refusal)) == (404, "model_not_found", "model must be 'tiny'. Got 'gpt'.")


def test_without_a_start_token_an_empty_prompt_is_refused():
    class Bare(ByteTokenizer):
        start_id = None

    with pytest.raises(Refusal, match="^prompt must not be empty, because the model has no start token.$"):
        protocol(Bare()).completion(body(prompt=""))
