"""Ask a server of `python_tiny` by the clients that people use: openai's and LangChain's.

    .venv-clients/bin/python scripts/try_clients.py [--replicas]

The server runs in `.venv`, the clients in this process. Each check's name is printed; the first that fails ends it.
With --replicas, two of them behind Ray Serve, as in `docs/guides/serving.md`, continue each other's states; they want a
machine that does little else.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import openai
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI, OpenAI

ROOT = Path(__file__).resolve().parents[1]
KEY = "a key of this run"
MODEL = "python_tiny"
CHECKS = []


def check(function):
    """Register one of the checks, which takes openai's client and the address."""
    CHECKS.append(function)
    return function


@check
def _models(client, url):
    (model,) = client.models.list()
    assert client.models.retrieve(model.id).id == MODEL


@check
def _completions(client, url):
    arguments = {"model": MODEL, "prompt": "def add(", "temperature": 0, "max_tokens": 12}
    whole = client.completions.create(**arguments)
    (choice,) = whole.choices
    assert choice.text and choice.finish_reason == "length" and whole.usage.completion_tokens == 12
    streamed = "".join(chunk.choices[0].text for chunk in client.completions.create(**arguments, stream=True))
    assert streamed == choice.text
    echoed = client.completions.create(**arguments, echo=True, logprobs=2).choices[0]
    assert echoed.text == "def add(" + choice.text
    scores = echoed.logprobs
    assert scores.token_logprobs[0] is None and len(scores.tokens) == len(scores.text_offset) > 12
    assert all(len(each) >= 2 for each in scores.top_logprobs[1:])
    stop = choice.text[3:5]
    stopped = client.completions.create(**arguments, stop=stop).choices[0]
    assert stopped.finish_reason == "stop" and stopped.text == choice.text[: choice.text.index(stop)]
    # As lm-eval scores a text.
    scored = client.completions.create(model=MODEL, prompt="import os", echo=True, logprobs=1, max_tokens=0)
    assert scored.choices[0].text == "import os" and scored.usage.completion_tokens == 0


@check
def _seeds_and_several_choices(client, url):
    arguments = {"model": MODEL, "prompt": ["import ", "class "], "n": 2, "seed": 3, "max_tokens": 8}
    first, second = (client.completions.create(**arguments) for _ in range(2))
    texts = [choice.text for choice in first.choices]
    assert texts == [choice.text for choice in second.choices] and len(texts) == 4
    assert [choice.index for choice in first.choices] == [0, 1, 2, 3]


@check
def _chats(client, url):
    parts = [{"type": "text", "text": "import"}]
    messages = [{"role": "system", "content": "Python"}, {"role": "user", "content": parts}]
    arguments = {"model": MODEL, "messages": messages, "seed": 0, "max_completion_tokens": 40}
    whole = client.chat.completions.create(**arguments, logprobs=True, top_logprobs=3)
    (choice,) = whole.choices
    assert choice.message.role == "assistant" and choice.finish_reason in ("stop", "length")
    assert all(len(token.top_logprobs) == 3 for token in choice.logprobs.content)
    assert client.chat.completions.create(**arguments, logprobs=True).choices[0].logprobs.content[0].logprob <= 0
    *pieces, last = client.chat.completions.create(**arguments, stream=True, stream_options={"include_usage": True})
    assert pieces[0].choices[0].delta.role == "assistant" and last.choices == []
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == choice.message.content
    assert last.usage.prompt_tokens == whole.usage.prompt_tokens
    # The next turn reads what is new.
    messages += [{"role": "assistant", "content": choice.message.content}, {"role": "user", "content": "more"}]
    usage = client.chat.completions.create(**{**arguments, "messages": messages}).usage
    assert usage.prompt_tokens - usage.prompt_tokens_details.cached_tokens < 6


@check
def _states(client, url):
    arguments = {"model": MODEL, "temperature": 0, "max_tokens": 6}
    first = client.completions.create(**arguments, prompt="def f(", extra_body={"state": True}).choices[0]
    rest = client.completions.create(**arguments, prompt="", extra_body={"state": first.state}).choices[0]
    both = client.completions.create(**{**arguments, "max_tokens": 12}, prompt="def f(").choices[0]
    assert first.text + rest.text == both.text
    with refused(openai.BadRequestError, "signed"):
        forged = ("B" if first.state[0] == "A" else "A") + first.state[1:]
        client.completions.create(**arguments, prompt="", extra_body={"state": forged})


@check
def _errors(client, url):
    arguments = {"model": MODEL, "prompt": "a"}
    with refused(openai.BadRequestError, "temperature must be"):
        client.completions.create(**arguments, temperature=3)
    tool = {"type": "function", "function": {"name": "f"}}
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "a"}], "tools": [tool], "max_tokens": 2}
    assert not client.chat.completions.create(**asked).choices[0].message.tool_calls
    with refused(openai.BadRequestError, "tool_choice must be"):
        client.chat.completions.create(**asked, tool_choice="required")
    with refused(openai.NotFoundError, "model must be"):
        client.completions.create(model="gpt-4", prompt="a")
    with refused(openai.AuthenticationError, "key"):
        openai.OpenAI(base_url=url, api_key="another", max_retries=0).models.list()


@check
def _a_hang_up(client, url):
    stream = client.completions.create(model=MODEL, prompt="a", max_tokens=4000, stream=True)
    next(iter(stream))
    stream.close()
    request = urllib.request.Request(url.replace("/v1", "/metrics"), headers={"authorization": f"Bearer {KEY}"})
    for _ in range(50):
        with urllib.request.urlopen(request) as answer:
            if b"keras_griffin_running 0.0" in answer.read():
                return
        time.sleep(0.1)
    raise AssertionError("the slot was not freed")


@check
def _langchain(client, url):
    options = {"model": MODEL, "base_url": url, "api_key": KEY, "max_retries": 0}
    chat = ChatOpenAI(**options, max_tokens=20, seed=1)
    messages = [SystemMessage("Python"), HumanMessage("import os")]
    answer = chat.invoke(messages)
    assert answer.usage_metadata["output_tokens"] and isinstance(answer.content, str)
    assert "".join(piece.content for piece in chat.stream(messages)) == answer.content
    wanted = client.completions.create(model=MODEL, prompt="def add(", max_tokens=8, temperature=0)
    assert OpenAI(**options, max_tokens=8, temperature=0).invoke("def add(") == wanted.choices[0].text


@contextlib.contextmanager
def refused(kind, text):
    """Inside the `with` block, openai's client raises that error, whose message contains the text."""
    try:
        yield
    except kind as error:
        assert text in str(error), error
    else:
        raise AssertionError(f"no {kind.__name__}")


@contextlib.contextmanager
def served():
    """A server in `.venv`: its address."""
    python = ROOT / ".venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    command = [python, "-m", "keras_griffin", "serve", MODEL, "--port", "0", "--tokens", "5000"]
    environment = {**os.environ, "KERAS_GRIFFIN_API_KEY": KEY}
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env=environment, text=True)
    try:
        yield process.stdout.readline().removeprefix("Serving at ").strip() + "/v1"
    finally:
        process.terminate()
        process.wait(60)


@contextlib.contextmanager
def replicated():
    """Two replicas behind Ray Serve, which has no command to choose a port: the address."""
    source = (ROOT / "docs/guides/serving.md").read_text("utf-8").split("# replicas.py\n")[1].split("```")[0]
    (packages,) = (ROOT / ".venv").glob("lib/python*/site-packages")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "replicas.py").write_text(source, "utf-8")
        paths = os.pathsep.join(map(str, (folder, ROOT, packages)))
        environment = {**os.environ, "PYTHONPATH": paths, "KERAS_GRIFFIN_STATE_KEY": "shared"}
        command = [Path(sys.executable).with_name("serve"), "run", "replicas:application"]
        log = Path(folder, "log")
        with log.open("w", encoding="utf-8") as file:
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=file)
        try:
            yield "http://127.0.0.1:8000/v1"
        except BaseException:
            print(log.read_text("utf-8", errors="replace")[-5000:], file=sys.stderr)
            raise
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def states_between_replicas():
    """A state that a client holds goes on wherever it comes to."""
    arguments = {"model": MODEL, "temperature": 0, "max_tokens": 4}
    with served() as url:
        one = openai.OpenAI(base_url=url, api_key=KEY)
        whole = one.completions.create(**{**arguments, "max_tokens": 32}, prompt="def f(").choices[0].text
    with replicated() as url:
        client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
        for _ in range(240):
            with contextlib.suppress(openai.APIConnectionError, openai.APIStatusError):
                client.models.list()
                break
            time.sleep(0.5)
        prompt, state, pieces = "def f(", True, []
        for _ in range(8):
            choice = client.completions.create(**arguments, prompt=prompt, extra_body={"state": state}).choices[0]
            prompt, state = "", choice.state
            pieces.append(choice.text)
        assert "".join(pieces) == whole, (pieces, whole)


def main():
    """Run all checks."""
    with served() as url:
        client = openai.OpenAI(base_url=url, api_key=KEY, max_retries=0)
        for function in CHECKS:
            function(client, url)
            print(f"{function.__name__[1:]}: as expected", flush=True)
    if "--replicas" in sys.argv[1:]:
        states_between_replicas()
        print("states between replicas on Ray Serve: as expected", flush=True)


if __name__ == "__main__":
    main()
