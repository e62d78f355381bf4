import pytest

from keras_griffin.serving.engine.engine import Full

pytestmark = pytest.mark.any_backend


def test_the_model_is_listed_and_found(served):
    listed = served.client.get("/v1/models").json()
    (card,) = listed["data"]
    assert listed["object"] == "list"
    assert card.pop("created") > 1.7e9
    assert card == {"id": "tiny", "object": "model", "owned_by": "keras_griffin"}
    assert served.client.get("/v1/models/tiny").json()["id"] == "tiny"
    response = served.client.get("/v1/models/tiny/2")
    assert response.status_code == 404 and response.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("POST", "/v1/completions/", 404),
        ("GET", "/v1/completions", 405),
        ("DELETE", "/v1/chat/completions", 405),
        ("POST", "/v1/models", 405),
        ("POST", "/health", 405),
    ],
)
def test_what_is_not_there_is_refused_in_the_same_schema(served, method, path, status):
    response = served.client.request(method, path)
    assert response.status_code == status
    assert response.json()["error"]["message"] == f"The server has no {method} {path}."
    assert ("allow" in response.headers) == (status == 405)


@pytest.mark.parametrize(
    ("path", "content", "param"),
    [
        ("completions", b"{", None),
        ("completions", b'{"model": "tiny", "n": NaN}', None),
        ("chat/completions", b"\xff\xfe", None),
        ("chat/completions", b"[" * 10**4, None),
        (
            "chat/completions",
            b'{"model": "tiny", "messages": [{"role": "user", "content": {}}]}',
            "messages[0].content",
        ),
        ("chat/completions", b'{"model": "tiny", "tool_choice": "required"}', "tool_choice"),
    ],
)
def test_a_request_that_is_wrong_has_400(served, path, content, param):
    response = served.post(path, content=content)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error" and error["param"] == param and error["message"]
    assert not served.engine.jobs


def test_the_page_is_served_for_itself_alone(served):
    response = served.client.get("/")
    assert response.status_code == 200 and response.headers["content-type"].startswith("text/html")
    assert "<html" in response.text and response.headers["content-security-policy"] == "frame-ancestors 'none'"
    assert served.client.head("/").status_code == 200


def test_a_full_engine_says_when_to_come_again(served):
    served.engine.room = 2
    response = served.complete(prompt=["a", "b"], n=3)
    assert response.status_code == 429 and response.headers["retry-after"] == "7"
    error = response.json()["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert error["message"] == "The server has no room for another request; try again in 7 s."
    assert served.complete(prompt=["a", "b"], n=2).status_code == 200


def test_all_jobs_of_a_request_are_taken_or_none(served, monkeypatch):
    submit, calls = served.engine.submit, []

    def one_alone(jobs):
        calls.append(jobs)
        if len(calls) > 1:
            raise Full
        submit(jobs)

    monkeypatch.setattr(served.engine, "submit", one_alone)
    assert served.complete(prompt=["a", "b"]).status_code == 429
    # An earlier test's client may hang up only now.
    assert all(job in served.engine.cancelled and job.is_cancelled for job in calls[0])


def test_there_are_not_more_replies_than_the_engine_has_jobs(bytes_model, scripted_engine, run_application):
    """Those that slow clients have not taken count too."""
    import json
    import socket
    import threading

    from keras_griffin.serving import app
    from keras_griffin.serving.engine.job import Ended, Read

    go_on = threading.Event()

    def waiting(job):
        yield Read(0)
        go_on.wait(10)
        yield Ended("", "stop")

    engine = scripted_engine()
    engine.script = waiting
    body = json.dumps({"model": "tiny", "prompt": "a"})
    head = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    with run_application(app(bytes_model, name="tiny", engine=engine, slots=1, most_waiting=1)) as at:
        clients = [socket.create_connection(("127.0.0.1", at.port)) for _ in range(2)]
        for client in clients:
            client.sendall((head + body).encode())
        while len(engine.jobs) < 2:
            pass
        assert at.client.post("/v1/completions", content=body).status_code == 429
        go_on.set()
        for client in clients:
            assert client.recv(100).startswith(b"HTTP/1.1 200")
            client.close()
        assert at.client.post("/v1/completions", content=body).status_code == 200


def test_without_its_engine_the_server_is_not_well(served, monkeypatch):
    assert served.client.get("/health").json() == {"status": "ok"}
    monkeypatch.setattr(served.engine, "is_alive", False)
    assert served.client.get("/health").status_code == 503
    served.engine.room = 0
    response = served.complete(prompt="a")
    assert response.status_code == 503 and response.json()["error"]["message"] == "The server is stopping."


def test_a_fault_is_one_sentence_and_the_server_goes_on(served, monkeypatch):
    def fault(jobs):
        raise RuntimeError("inner secret")

    with monkeypatch.context() as patch:
        patch.setattr(served.engine, "submit", fault)
        response = served.complete(prompt="a")
    assert response.status_code == 500
    assert response.json()["error"]["message"] == "The server has failed; its log says why."
    assert served.complete(prompt="a").status_code == 200
