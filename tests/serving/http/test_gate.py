import logging.handlers
import queue

import pytest

from keras_griffin.serving import app
from keras_griffin.serving.http.gate import LOG, escaped, route_of

pytestmark = pytest.mark.any_backend

KEY = "a-secret"


@pytest.fixture(scope="module")
def locked(bytes_model, scripted_engine, run_application):
    with run_application(app(bytes_model, name="tiny", api_key=KEY, engine=scripted_engine())) as at:
        yield at.client


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/tiny", "/metrics", "/nothing", "/v1/completions"])
@pytest.mark.parametrize("given", [None, "Bearer", "Bearer wrong", KEY, f"Basic {KEY}", f"Bearer {KEY} ", "Bearer é"])
def test_a_request_without_the_key_is_refused(locked, path, given):
    headers = {} if given is None else {"authorization": given.encode()}
    # The server strips white space around a value.
    if given == f"Bearer {KEY} ":
        headers = {"authorization": f"Bearer {KEY}x".encode()}
    response = locked.get(path, headers=headers)
    assert response.status_code == 401 and response.headers["www-authenticate"] == "Bearer"
    error = response.json()["error"]
    assert error["code"] == "invalid_api_key" and KEY not in response.text
    assert error["message"] == "The request must have the server's key, as Authorization: Bearer KEY."


def test_with_the_key_all_is_open_and_without_it_the_page_and_the_health(locked):
    headers = {"authorization": f"Bearer {KEY}"}
    for path in ("/v1/models", "/v1/models/tiny", "/metrics"):
        assert locked.get(path, headers=headers).status_code == 200
    assert locked.get("/").status_code == locked.get("/health").status_code == 200


def test_requests_are_counted_by_route_and_status(served):
    for path in ("/v1/models/tiny", "/v1/models/other", "/a", "/b"):
        served.client.get(path)
    served.complete(prompt="x")
    served.complete(prompt="x", n=0)
    text = served.client.get("/metrics").text
    for route, status in (
        ("/v1/models/{id}", 200),
        ("/v1/models/{id}", 404),
        ("other", 404),
        ("/v1/completions", 200),
        ("/v1/completions", 400),
    ):
        assert f'keras_griffin_requests_total{{route="{route}",status="{status}"}}' in text
    assert "/v1/models/tiny" not in text and '"/a"' not in text
    assert "keras_griffin_first_token_seconds_count" in text and "keras_griffin_answer_seconds_count" in text


def test_each_request_is_a_line_of_the_log_without_control_characters(served, caplog, monkeypatch):
    records = queue.SimpleQueue()
    monkeypatch.setattr(LOG, "handlers", [logging.handlers.QueueHandler(records)])
    with caplog.at_level(logging.INFO, LOG.name):
        served.client.get("/a%0Ab%1B[31mé")
        line = ""
        # A line may follow its answer, so that an earlier test's may come first.
        while "31m" not in line:
            line = records.get(timeout=10).getMessage()
    start = "GET /a\\nb\\x1b[31mé 404 "
    assert line.startswith(start) and line.endswith(" s")


def test_a_text_of_a_client_is_one_line():
    assert escaped("a\nb\r\x1b\u202e\ud800é") == "a\\nb\\r\\x1b\\u202e\\ud800é"
    assert escaped("a" * 500) == "a" * 200


def test_there_are_few_routes():
    assert [route_of(path) for path in ("/", "/metrics", "/v1/models/a/b", "/v1/models/", "/v1/x")] == [
        "/",
        "/metrics",
        "/v1/models/{id}",
        "/v1/models/{id}",
        "other",
    ]


def test_an_application_under_a_path_has_the_same_open_paths(bytes_model, scripted_engine, run_application):
    from starlette.applications import Starlette
    from starlette.routing import Mount

    inner = app(bytes_model, name="tiny", api_key=KEY, engine=scripted_engine())
    outer = Starlette(routes=[Mount("/under", inner)], lifespan=inner.router.lifespan_context)
    with run_application(outer) as at:
        assert at.client.get("/under/health").status_code == 200
        assert at.client.get("/under/v1/models").status_code == 401
        assert at.client.get("/under/v1/models", headers={"authorization": f"Bearer {KEY}"}).status_code == 200
