import json

import pytest

from keras_griffin.serving.http.fields import Limits, chat_fields, completion_fields, fields_of
from keras_griffin.serving.http.refusal import Refusal, received

pytestmark = pytest.mark.any_backend

LIMITS = Limits(tokens=100, prompt_tokens=50, prompts=4, choices=8, seconds=60.0, all_choices=99)
TABLES = {"chat": chat_fields(LIMITS), "text": completion_fields(LIMITS)}
STOP = "a text of 1 to 100 characters, or a list of up to 4"
IDS = "a text, a list of texts, a list of token ids, or a list of such lists"


def read(kind, **content):
    return fields_of(json.dumps(content).encode(), TABLES[kind])


def refused(kind, content):
    with pytest.raises(Refusal) as raised:
        read(kind, **content)
    assert raised.value.status == 400
    return raised.value


@pytest.mark.parametrize(
    ("kind", "name", "value", "rule"),
    [
        ("chat", "model", 1, "a text"),
        ("chat", "n", 0, "an integer from 1 to 8"),
        ("chat", "n", 9, "an integer from 1 to 8"),
        ("chat", "n", 1.0, "an integer from 1 to 8"),
        ("chat", "n", True, "an integer from 1 to 8"),
        ("text", "stream", 1, "True or False"),
        ("text", "stream_options", {"usage": True}, 'an object with "include_usage" as true or false'),
        ("text", "stream_options", {"include_usage": 1}, 'an object with "include_usage" as true or false'),
        ("text", "stream_options", [], 'an object with "include_usage" as true or false'),
        ("chat", "stop", "", STOP),
        ("chat", "stop", ["a"] * 5, STOP),
        ("chat", "stop", ["a", "b" * 93 + "c" * 8], STOP),
        ("chat", "stop", ["a", 1], STOP),
        ("chat", "stop", {"a": 1}, STOP),
        ("chat", "seed", 2**64, f"an integer from {-(2**63)} to {2**64 - 1}"),
        ("chat", "seed", "1", f"an integer from {-(2**63)} to {2**64 - 1}"),
        ("chat", "temperature", -0.1, "a number from 0 to 2"),
        ("chat", "temperature", 2.1, "a number from 0 to 2"),
        ("chat", "temperature", "1", "a number from 0 to 2"),
        ("chat", "top_p", 0, "a number above 0 and at most 1"),
        ("chat", "top_p", 1.1, "a number above 0 and at most 1"),
        ("text", "state", 1, "true, false or a state from an answer"),
        ("text", "state", "\ud800", "true, false or a state from an answer"),
        ("text", "frequency_penalty", 0.5, "0, because the server has no penalties"),
        ("text", "presence_penalty", False, "0, because the server has no penalties"),
        ("text", "logit_bias", {"1": 2}, "empty, because the server changes no logits"),
        ("text", "prompt", [], IDS),
        ("text", "prompt", ["a", 1], IDS),
        ("text", "prompt", [1, True], IDS),
        ("text", "prompt", [[1], ["a"]], IDS),
        ("text", "prompt", {"a": 1}, IDS),
        ("text", "prompt", "a\udcff", IDS),
        ("text", "max_tokens", -1, "an integer from 0 to 100"),
        ("text", "max_tokens", 101, "an integer from 0 to 100"),
        ("text", "echo", "yes", "True or False"),
        ("text", "logprobs", 6, "an integer from 0 to 5"),
        ("text", "logprobs", True, "an integer from 0 to 5"),
        ("text", "suffix", "end", "empty, because the server only continues texts"),
        ("chat", "messages", "hello", "a list of messages"),
        ("chat", "max_tokens", 0, "an integer from 1 to 100"),
        ("chat", "max_completion_tokens", 101, "an integer from 1 to 100"),
        ("chat", "logprobs", 1, "True or False"),
        ("chat", "top_logprobs", 21, "an integer from 0 to 20"),
        ("chat", "tools", {"type": "function"}, "a list"),
        ("chat", "functions", "f", "a list"),
        ("chat", "tool_choice", "required", "none or auto, because the server calls no tools"),
        ("chat", "function_call", {"name": "f"}, "none or auto, because the server calls no tools"),
        ("chat", "response_format", {"type": "json_object"}, "of type text, because the server follows no format"),
        ("chat", "modalities", ["text", "audio"], "left out, because the server writes text only"),
        ("chat", "audio", {"voice": "x"}, "left out, because the server writes text only"),
        ("chat", "web_search_options", {}, "left out, because the server searches nothing"),
        ("chat", "moderation", {"model": "x"}, "left out, because the server moderates nothing"),
        ("chat", "reasoning_effort", "high", "none, because the model does not reason apart from its answer"),
        ("chat", "verbosity", "low", "medium, because the model knows no other"),
    ],
)
def test_a_wrong_value_is_refused_by_a_sentence_that_names_the_field(kind, name, value, rule):
    refusal = refused(kind, {name: value})
    assert str(refusal) == f"{name} must be {rule}. Got {received(value)}."
    assert refusal.param == name


@pytest.mark.parametrize("kind", TABLES)
def test_a_field_that_is_null_is_one_that_is_left_out(kind):
    assert read(kind, **dict.fromkeys(TABLES[kind])) == read(kind)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("text", {"user": "me", "best_of": 1, "suffix": "", "logit_bias": {}, "frequency_penalty": 0.0, "stop": []}),
        (
            "chat",
            {
                **{"user": "me", "metadata": {"a": "b"}, "store": True, "service_tier": "flex", "prediction": {}},
                **{
                    "tools": [{"type": "function"}],
                    "tool_choice": "auto",
                    "parallel_tool_calls": True,
                    "presence_penalty": 0,
                },
                **{"response_format": {"type": "text"}, "modalities": ["text"], "verbosity": "medium"},
                **{"stream_options": {"include_usage": False, "include_obfuscation": False}},
            },
        ),
    ],
)
def test_what_asks_for_nothing_is_accepted(kind, content):
    assert {name: value for name, value in read(kind, **content).items() if name in content} == content


def test_an_unknown_field_is_refused_by_its_name():
    refusal = refused("chat", {"temprature": 1})
    assert str(refusal) == "\"temprature\" must be a field that the server knows; did you mean 'temperature'?"
    assert refusal.param == "temprature"
    assert str(refused("text", {"messages": []})) == '"messages" must be a field that the server knows.'


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "must be JSON in UTF-8. Got Expecting value: line 1 column 1 (char 0)."),
        (b'{"n": NaN}', "must be JSON in UTF-8. Got NaN, which is no number of JSON."),
        (b'{"n": -Infinity}', "must be JSON in UTF-8. Got -Infinity, which is no number of JSON."),
        (b'{"n": ' + b"9" * 5000 + b"}", "must be JSON in UTF-8. Got Exceeds the limit"),
        (b"\xff", "must be JSON in UTF-8. Got 'utf-8' codec can't decode byte 0xff"),
        (b'{"a":' * 100_000, "must be JSON in UTF-8. Got too many levels."),
        (b"[1]", "must be a JSON object. Got [1]."),
        (b'"' + b"a" * 200 + b'"', f'must be a JSON object. Got "{"a" * 96}....'),
    ],
)
def test_a_body_that_is_no_object_is_refused(body, sentence):
    with pytest.raises(Refusal) as raised:
        fields_of(body, TABLES["chat"])
    assert str(raised.value).startswith(f"The body {sentence}") and raised.value.status == 400


def test_a_number_that_overflows_obeys_no_rule():
    with pytest.raises(Refusal, match="^temperature must be a number from 0 to 2. Got Infinity.$"):
        fields_of(b'{"temperature": 1e999}', TABLES["chat"])


def test_a_value_of_many_levels_is_refused_too():
    """Python reads more levels than it writes, or fewer."""
    for levels in range(300, 3000, 100):
        with pytest.raises(Refusal, match="^n must be|too many levels"):
            fields_of(b'{"n": ' + b"[" * levels + b"]" * levels + b"}", TABLES["chat"])
