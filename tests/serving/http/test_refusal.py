import json

import pytest

from keras_griffin.serving.http.refusal import Refusal, received

pytestmark = pytest.mark.any_backend


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, "invalid_request_error") for status in (400, 401, 404, 405, 408, 413)),
        (429, "rate_limit_error"),
        *((status, "server_error") for status in (500, 503, 504)),
    ],
)
def test_a_refusal_is_a_response_in_openais_schema(status, kind):
    response = Refusal("no", status, param="n", code="c", headers={"retry-after": "1"}).response
    assert response.status_code == status and response.headers["retry-after"] == "1"
    assert json.loads(response.body) == {"error": {"message": "no", "type": kind, "param": "n", "code": "c"}}


def test_what_was_received_is_cut_and_has_no_control_characters():
    assert received({"a": "\x1b\n"}) == '{"a": "\\u001b\\n"}'
    assert received("a" * 98) == f'"{"a" * 98}"'
    assert received("a" * 99) == f'"{"a" * 96}...'
