import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap

import httpx
import pytest

from keras_griffin.__main__ import main
from keras_griffin.commands.serve import is_loopback
from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.tokenizers import ByteTokenizer

pytestmark = pytest.mark.any_backend


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in ("KERAS_GRIFFIN_API_KEY", "KERAS_GRIFFIN_STATE_KEY"):
        monkeypatch.delenv(name, raising=False)


def refused(capsys, *arguments):
    assert main(["serve", *arguments]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "is_own"),
    [
        *(("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True)),
        *(("0.0.0.0", False), ("::", False), ("192.168.0.1", False), ("example.org", False), ("", False)),
    ],
)
def test_this_machines_own_addresses_are_known(host, is_own):
    assert is_loopback(host) is is_own


def test_others_need_a_key(capsys):
    assert refused(capsys, "any", "--host", "0.0.0.0") == (
        "keras_griffin serve: --host must be this machine's own, such as 127.0.0.1, unless KERAS_GRIFFIN_API_KEY is "
        "set. Got '0.0.0.0'.\n"
    )


def test_a_port_that_is_taken_is_refused_before_the_model_is_loaded(capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        error = refused(capsys, "no-such-model", "--port", str(port))
    start = "keras_griffin serve: --host and --port must be free to listen on. Got '127.0.0.1' and "
    assert error.startswith(f"{start}{port}: ")


def test_a_model_that_is_not_there_is_refused(capsys):
    start = "keras_griffin serve: MODEL must be a .keras file, a folder, hf://OWNER/NAME or python_tiny. Got 'no-such"
    assert refused(capsys, "no-such-model", "--port", "0").startswith(start)


@pytest.mark.parametrize("package", ["uvicorn", "starlette.applications"])
def test_a_missing_package_is_one_sentence(package, monkeypatch, capsys, use_model, byte_model):
    use_model(byte_model)
    monkeypatch.setitem(sys.modules, package, None)
    error = refused(capsys, "any", "--port", "0")
    assert "must be installed: pip install 'keras-griffin[serve]'" in error and error.count("\n") == 1


@pytest.mark.parametrize("option", [["--slots", "0"], ["--port", "65536"], ["--seconds", "0"], ["--port", "-1"]])
def test_a_number_that_is_none_is_refused(option, capsys):
    with pytest.raises(SystemExit) as exit:
        main(["serve", "any", *option])
    assert exit.value.code == 2 and f"argument {option[0]}: must be" in capsys.readouterr().err


#: A server whose answers end a second after their request, and which says when it has one.
PROGRAM = """
import sys, time
from keras_griffin.__main__ import main
from keras_griffin.commands.shared import load
from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.serving.http import application
from keras_griffin.serving.engine.job import Ended, Read, Token
from keras_griffin.tokenizers import ByteTokenizer
from tests.serving.conftest import ScriptedEngine

def slowly(job):
    yield Read(0)
    yield Token(97, "a")
    time.sleep(1)
    yield Ended("b", "stop")

def engine(*arguments, **options):
    engine = ScriptedEngine()
    engine.script = slowly
    return engine

config = GriffinConfig(vocabulary_size=256, width=8, num_layers=1, num_heads=1, window=4, block_pattern=("recurrent",))
load.load_text_model = lambda *arguments, **options: Griffin(config, tokenizer=ByteTokenizer())
application.Engine = engine
sys.exit(main(["serve", "models/tiny.keras", "--port", "0"]))
"""


@pytest.mark.slow
def test_sigterm_lets_accepted_requests_be_answered_and_takes_no_more():
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        assert line.startswith("Serving at http://127.0.0.1:"), process.stderr.read()
        with httpx.Client(base_url=line.split()[-1], timeout=20) as client:
            assert client.get("/v1/models").json()["data"][0]["id"] == "tiny"
            body = {"model": "tiny", "prompt": "x", "stream": True}
            with client.stream("POST", "/v1/completions", json=body) as response:
                lines = response.iter_lines()
                assert '"a"' in next(lines)
                process.send_signal(signal.SIGTERM)
                rest = "".join(lines)
                assert '"b"' in rest and rest.endswith("[DONE]")
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"{client.base_url}/health")
        assert process.wait(20) == -signal.SIGTERM
        errors = process.stderr.read()
    assert "POST /v1/completions 200" in errors and "Traceback" not in errors


@contextlib.contextmanager
def real_server(file):
    """A process that serves a file, and a client of it."""
    environment = {**os.environ, "KERAS_GRIFFIN_STATE_KEY": "the same"}
    command = [sys.executable, "-m", "keras_griffin", "serve", str(file), "--port", "0"]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True, "env": environment}
    with subprocess.Popen(command, **options) as process:
        url = process.stdout.readline().split()[-1]
        with httpx.Client(base_url=url, timeout=60) as client:
            yield process, client
        process.kill()


@pytest.mark.slow
def test_after_a_kill_clients_go_on(tmp_path):
    """What was kept is gone: a conversation is read once more, and a state that its client holds is as good as ever."""
    model = Griffin(GriffinConfig(256, 8, 1, num_heads=1, block_pattern=("recurrent",)), tokenizer=ByteTokenizer())
    model.save(tmp_path / "tiny.keras")
    body = {"model": "tiny", "prompt": "hello", "max_tokens": 6, "temperature": 0}

    def ask(client, **changes):
        (choice,) = client.post("/v1/completions", json={**body, **changes}).json()["choices"]
        return choice

    with real_server(tmp_path / "tiny.keras") as (process, client):
        first = ask(client, state=True)
        rest = ask(client, prompt="", state=first["state"])
        with client.stream("POST", "/v1/completions", json={**body, "max_tokens": 4000, "stream": True}) as response:
            lines = response.iter_lines()
            next(lines)
            process.kill()
            with pytest.raises(httpx.TransportError):
                list(lines)
    with real_server(tmp_path / "tiny.keras") as (_, client):
        assert ask(client, prompt="", state=first["state"])["text"] == rest["text"]
        assert ask(client)["text"] == first["text"]


@pytest.mark.slow
def test_ctrl_c_does_not_wait_for_the_model():
    program = """
    import signal, sys, time
    from keras_griffin.__main__ import main
    from keras_griffin.commands.shared import load

    # A suite that runs in a shell's background has inherited that it is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def load_text_model(*arguments, **options):
        print("loading", flush=True)
        time.sleep(600)

    load.load_text_model = load_text_model
    sys.exit(main(["serve", "models/tiny.keras", "--port", "0"]))
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "loading\n"
        process.send_signal(signal.SIGINT)
        # Python takes a second to end, on a busy machine many.
        assert process.wait(120) == 130
        assert "Traceback" not in process.stderr.read()
