import pytest

from keras_griffin.serving.engine.job import Ended, Read, Token

pytestmark = pytest.mark.any_backend

USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}


def usage(found=0, **counts):
    return {**USAGE, **counts, "prompt_tokens_details": {"cached_tokens": found}}


def test_a_completion(served, script):
    served.engine.script = script("abc", found=2)
    content = served.complete(prompt="hello").json()
    assert content.pop("id").startswith("cmpl-") and content.pop("created") > 1.7e9
    assert content == {
        "object": "text_completion",
        "model": "tiny",
        "choices": [{"index": 0, "text": "abc", "logprobs": None, "finish_reason": "stop"}],
        "usage": usage(found=2),
    }


def test_a_chat(served, script):
    served.engine.script = script("abc", "length")
    content = served.chat("hello").json()
    assert content.pop("id").startswith("chatcmpl-") and content.pop("created") > 1.7e9
    message = {"role": "assistant", "content": "abc", "refusal": None}
    assert content == {
        "object": "chat.completion",
        "model": "tiny",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "length"}],
        "usage": usage(prompt_tokens=6, total_tokens=9),
    }


@pytest.mark.parametrize("includes_usage", [True, False])
def test_a_streamed_chat_begins_with_its_role_and_ends_with_its_usage(served, includes_usage):
    response = served.chat("hello", stream=True, stream_options={"include_usage": includes_usage})
    first, *rest = served.chunks(response)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    if includes_usage:
        last = rest.pop()
        assert last["choices"] == [] and last["usage"] == usage(prompt_tokens=6, total_tokens=9)
    assert {(each["id"], each["object"], each["model"], each["created"]) for each in rest} == {
        (first["id"], "chat.completion.chunk", "tiny", first["created"])
    }
    assert all(("usage" in each) == includes_usage and each.get("usage") is None for each in [first, *rest])
    (*choices,) = (choice for each in rest for choice in each["choices"])
    assert "".join(choice["delta"].get("content", "") for choice in choices) == "abc"
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    assert all("role" not in choice["delta"] for choice in choices)


def test_a_streamed_completion_has_no_role(served):
    chunks = served.chunks(served.complete(prompt="hello", stream=True))
    assert {each["object"] for each in chunks} == {"text_completion"}
    assert "".join(choice["text"] for each in chunks for choice in each["choices"]) == "abc"


@pytest.mark.parametrize("stream", [False, True])
def test_choices_of_prompts_stand_in_openais_order(served, script, stream):
    served.engine.script = lambda job: script(chr(job.token_ids[0]) + str(job.index), found=1)(job)
    response = served.complete(prompt=["xx", "y"], n=2, stream=stream, stream_options={"include_usage": True})
    contents = served.chunks(response) if stream else [response.json()]
    texts = dict.fromkeys(range(4), "")
    for choice in (choice for content in contents for choice in content["choices"]):
        texts[choice["index"]] += choice["text"]
    assert texts == {0: "x0", 1: "x1", 2: "y0", 3: "y1"}
    # A prompt counts once.
    assert contents[-1]["usage"] == usage(found=2, prompt_tokens=3, completion_tokens=8, total_tokens=11)


def merged(choices):
    """The log-probabilities of a completion's chunks as one object."""
    parts = [choice["logprobs"] for choice in choices if choice["logprobs"]]
    return {name: sum((part[name] for part in parts), []) for name in parts[0]}


@pytest.mark.parametrize("stream", [False, True])
def test_echo_with_log_probabilities(served, stream):
    response = served.complete(prompt="né", echo=True, logprobs=1, max_tokens=2, stream=stream)
    contents = served.chunks(response) if stream else [response.json()]
    choices = [choice for content in contents for choice in content["choices"]]
    assert "".join(choice["text"] for choice in choices) == "néab"
    found = merged(choices)
    assert found["tokens"] == ["n", "bytes:\\xc3", "bytes:\\xa9", "a", "b"]
    assert found["token_logprobs"] == [None, -0.5, -0.5, -0.5, -0.5]
    assert found["top_logprobs"][0] is None and found["top_logprobs"][3:] == [{"a": -0.5}, {"b": -0.5}]
    assert found["text_offset"] == [0, 1, 1, 2, 3]


def test_a_prompt_alone_is_scored(served):
    choice = served.complete(prompt="ab", echo=True, logprobs=0, max_tokens=0).json()["choices"][0]
    assert choice["text"] == "ab" and choice["logprobs"]["token_logprobs"] == [None, -0.5]


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_of_a_chat(served, stream):
    response = served.chat("hi", logprobs=True, top_logprobs=2, stream=stream)
    contents = served.chunks(response) if stream else [response.json()]
    scores = [score for each in contents for score in (each["choices"][0]["logprobs"] or {"content": []})["content"]]
    assert [(each["token"], each["bytes"], len(each["top_logprobs"])) for each in scores] == [
        ("a", [97], 2),
        ("b", [98], 2),
        ("c", [99], 2),
    ]
    assert served.chat("hi", logprobs=True).json()["choices"][0]["logprobs"]["content"][0]["top_logprobs"] == []


def test_tokens_whose_text_waits_make_no_chunk_unless_they_are_scored(served):
    def waiting(job):
        yield Read(0)
        yield Token(97, "")
        yield Token(98, "")
        yield Ended("ab", "length")

    served.engine.script = waiting
    (last,) = served.chunks(served.complete(prompt="x", stream=True, stop="abc"))
    assert last["choices"][0]["text"] == "ab" and last["choices"][0]["finish_reason"] == "length"


def test_a_state_comes_with_the_end_and_goes_on(served, bytes_model):
    state = bytes_model.prefill([[1, 2]])

    def with_state(job):
        assert job.returns_state
        yield Read(0)
        yield Token(97, "a")
        yield Token(10, "")
        yield Ended("", "stop", state)

    served.engine.script = with_state
    whole = served.chat("hi", state=True).json()["choices"][0]
    chunks = served.chunks(served.chat("hi", state=True, stream=True))
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert [choice for choice in choices if "state" in choice] == choices[-1:]
    assert whole["state"] == choices[-1]["state"]
    served.engine.jobs.clear()
    assert served.chat("ho", state=whole["state"]).status_code == 200
    (job,) = served.engine.jobs
    # The line break that ended the answer has been read.
    assert bytes(job.token_ids.tolist()) == b"ho\n" and int(job.state.tokens[0]) == 2
    assert "state" not in served_without(served)


def served_without(served):
    served.engine.script = lambda job: iter([Read(0), Ended("", "stop")])
    return served.chat("hi").json()["choices"][0]
