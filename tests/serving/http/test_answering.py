import json
import socket
import threading
import time

import pytest

from keras_griffin.serving.engine.job import Ended, Failed, Read, Token
from keras_griffin.serving.http import answering

pytestmark = pytest.mark.any_backend


def until(condition):
    """Wait for something that another thread does."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def endless(job):
    """An answer that goes on for as long as its client is there; a connection soon holds no more of it."""
    yield Read(0)
    while not job.is_cancelled:
        yield Token(97, "a" * 50_000)
        time.sleep(0.001)


def request_of(content, path="/v1/completions"):
    body = json.dumps({"model": "tiny", "prompt": "x", **content}).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_hangs_up_cancels_its_jobs(served, stream):
    served.engine.script = endless
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(request_of({"stream": stream, "n": 2}))
        if stream:
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        until(lambda: len(served.engine.jobs) == 2)
    until(lambda: all(job.is_cancelled for job in served.engine.jobs))


def test_an_answer_is_written_while_its_reader_waits(served):
    """Which gets all of it in the end; the engine is through long before."""
    tokens, piece = 90, "gh" * 50_000
    done = threading.Event()

    def long(job):
        yield Read(0)
        for _ in range(tokens):
            yield Token(97, piece)
        yield Ended("", "length")
        done.set()

    served.engine.script = long
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(request_of({"stream": True}))
        assert done.wait(10)
        content = bytearray()
        while b"[DONE]" not in content[-100:]:
            content += connection.recv(1 << 20)
    assert content.count(b"gh") == 50_000 * tokens


def test_a_client_that_takes_nothing_is_gone_after_a_while(served, monkeypatch):
    monkeypatch.setattr(answering, "MOST_SECONDS", 0.2)
    served.engine.script = endless
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(request_of({"stream": True}))
        until(lambda: served.engine.jobs and served.engine.jobs[0].is_cancelled)


@pytest.mark.parametrize("stream", [False, True])
def test_nor_is_it_waited_for_with_an_answer_that_is_over(served, monkeypatch, stream):
    monkeypatch.setattr(answering, "MOST_SECONDS", 0.2)

    def large(job):
        yield Read(0)
        yield Token(97, "a" * 50_000_000)
        yield Ended("", "stop")

    served.engine.script = large
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(request_of({"stream": stream}))
        # All jobs are, at the end.
        until(lambda: served.engine.cancelled)


def failing(job):
    yield Read(0)
    yield Token(97, "a")
    yield Failed("The engine has stopped.", 503)


def test_a_failure_is_a_status_before_the_answer_and_a_chunk_within_it(served):
    error = {"message": "The engine has stopped.", "type": "server_error", "param": None, "code": None}
    served.engine.script = failing
    response = served.complete(prompt="x", n=2)
    assert response.status_code == 503 and response.json() == {"error": error}
    response = served.complete(prompt="x", n=2, stream=True)
    assert response.status_code == 200
    *_, last, end = response.text.split("\n\n")
    assert json.loads(last.removeprefix("data: ")) == {"error": error} and end == ""
    assert '"text": "a"' in response.text and "[DONE]" not in response.text
    until(lambda: all(job.is_cancelled for job in served.engine.jobs))


def test_a_body_is_counted_while_it_comes(served):
    """The limit is 5,000 bytes, and what a state may have."""

    def pieces(count):
        yield b'{"model": "tiny", "prompt": "'
        yield from [b"a" * 1000] * count

    for options in ({"content": pieces(100)}, {"content": b"a" * 10**5}, {"content": b"a" * 10**7}):
        response = served.client.post("/v1/completions", **options)
        assert response.status_code == 413
        message = response.json()["error"]["message"]
        assert message.startswith("The body must have at most ") and message.endswith(" bytes.")
    # The connection can be used again, and the limit itself is a body.
    assert served.complete(prompt="x").status_code == 200
    most = int(message.split()[6])
    assert 5000 < most < 15_000
    assert served.client.post("/v1/completions", content=b" " * most).status_code == 400
    assert served.client.post("/v1/completions", content=b" " * (most + 1)).status_code == 413


def test_a_body_that_does_not_come_is_not_waited_for(served, monkeypatch):
    monkeypatch.setattr(answering, "MOST_SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(request_of({})[:-5])
        connection.settimeout(10)
        assert connection.recv(100).startswith(b"HTTP/1.1 408")


def test_a_client_that_hangs_up_before_it_has_asked_is_no_fault(served):
    def count():
        lines = served.client.get("/metrics").text.splitlines()
        name = 'keras_griffin_requests_total{route="/v1/completions",status="499"}'
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    before = count()
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(request_of({})[:-5])
        time.sleep(0.05)
    until(lambda: count() == before + 1)
    assert not served.engine.jobs


def test_an_answer_is_read_as_its_text(served):
    """For the next turn; not if a client keeps the state, or there are several answers."""
    served.chat("hi")
    served.chat("hi", n=2)
    served.complete(prompt="hi")
    (job,) = served.engine.only_read
    assert bytes(job.token_ids.tolist()) == b"hi\nabc\n" and [len(each) for each in job.segments] == [3, 4]
