import sys

import pytest

from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.serving import app
from keras_griffin.serving.http.application import STATE_KEY
from keras_griffin.tokenizers import ByteTokenizer


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("argument", "value", "rule"),
    [
        ("slots", 0, "an integer of at least 1"),
        ("most_tokens", 1.5, "an integer of at least 1"),
        ("most_prompt_tokens", 0, "an integer of at least 1"),
        ("most_waiting", 0, "an integer of at least 1"),
        ("most_body_bytes", -1, "an integer of at least 1"),
        ("kept_every", 0, "an integer of at least 1"),
        ("kept_bytes", -1, "an integer of at least 0"),
        ("seconds", 0, "a positive finite number"),
    ],
)
def test_a_limit_that_is_none_is_refused(bytes_model, argument, value, rule):
    with pytest.raises(ValueError, match=f"^app: {argument} must be {rule}. Got {value}.$"):
        app(bytes_model, **{argument: value})


@pytest.mark.any_backend
def test_a_model_without_a_tokenizer_is_refused(bytes_model):
    with pytest.raises(ValueError, match="^app: the model must have a tokenizer; set model.tokenizer. Got a model"):
        app(Griffin(bytes_model.config))


@pytest.mark.any_backend
@pytest.mark.parametrize("package", ["starlette.applications", "prometheus_client"])
def test_a_missing_package_is_one_sentence_with_the_extra(bytes_model, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"^app: .*must be installed: pip install 'keras-griffin\[serve\]'"):
        app(bytes_model)


@pytest.mark.any_backend
def test_the_key_of_states_is_the_arguments_or_the_environments_or_random(
    bytes_model, scripted_engine, run_application, monkeypatch
):
    from keras_griffin.serving.engine.job import Ended, Read

    state = bytes_model.prefill([[1]])
    body = {"model": "tiny", "prompt": "a", "state": True}

    def serve(**options):
        engine = scripted_engine()
        engine.script = lambda job: iter([Read(0), Ended("", "stop", state)])
        return run_application(app(bytes_model, name="tiny", engine=engine, **options))

    def asked(at, **content):
        return at.client.post("/v1/completions", json={**body, **content})

    with serve() as first, serve() as second:
        text = asked(first).json()["choices"][0]["state"]
        assert asked(first, state=text).status_code == 200
        refused = asked(second, state=text)
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "state"
    monkeypatch.setenv(STATE_KEY, "k")
    with serve() as first, serve(state_key="k") as second, serve(state_key="other") as third:
        text = asked(first).json()["choices"][0]["state"]
        assert [asked(at, state=text).status_code for at in (first, second, third)] == [200, 200, 400]


def test_the_engine_answers_as_generate_does(bytes_model, run_application):
    with run_application(app(bytes_model, slots=4)) as at:
        body = {"model": bytes_model.name, "prompt": "hello", "max_tokens": 5, "n": 2, "seed": 3, "echo": True}
        texts = [choice["text"] for choice in at.client.post("/v1/completions", json=body).json()["choices"]]
        assert texts == bytes_model.generate(["hello"] * 2, 5, sampler="temperature", seed=3)
        chat = {"model": bytes_model.name, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
        first = at.client.post("/v1/chat/completions", json={**chat, "state": True, "seed": 1}).json()
        state = first["choices"][0]["state"]
        more = {**chat, "messages": [], "state": state, "temperature": 0}
        second = at.client.post("/v1/chat/completions", json=more).json()
        assert second["usage"]["prompt_tokens"] == 0
        assert at.client.get("/health").status_code == 200


def test_the_next_turn_reads_its_message_alone(bytes_model, run_application):
    """The bytes of an answer are rarely UTF-8, and its text has others."""
    with run_application(app(bytes_model, slots=4)) as at:
        messages, news = [], []
        for question in ("hello", "and more", "more"):
            messages.append({"role": "user", "content": question})
            body = {"model": bytes_model.name, "messages": messages, "max_tokens": 20, "seed": 1}
            answer = at.client.post("/v1/chat/completions", json=body).json()
            messages.append({"role": "assistant", "content": answer["choices"][0]["message"]["content"]})
            usage = answer["usage"]
            news.append(usage["prompt_tokens"] - usage["prompt_tokens_details"]["cached_tokens"])
            while at.client.get("/metrics").text.count("keras_griffin_waiting 0.0") == 0:
                pass
        assert "�" in messages[1]["content"]
        assert news == [len("hello\n"), len("and more\n"), len("more\n")]


def test_an_id_of_a_padded_vocabulary_is_refused(run_application):
    model = Griffin(GriffinConfig(300, 8, 1, num_heads=1), tokenizer=ByteTokenizer())
    with run_application(app(model, name="m", slots=2)) as at:
        answer = at.client.post("/v1/completions", json={"model": "m", "prompt": [280]})
        assert answer.status_code == 400 and "below the vocabulary's size 256. Got 280" in answer.text
        many = {"model": "m", "prompt": ["a"] * 200, "n": 2}
        assert "n must be such" in at.client.post("/v1/completions", json=many).text
