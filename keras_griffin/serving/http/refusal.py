"""How the server says no."""

import json

#: Of clients' faults all others have the first type.
TYPES = {400: "invalid_request_error", 429: "rate_limit_error", 500: "server_error"}


class Refusal(Exception):
    """A request that is not answered: an HTTP status, and a sentence for the client.

    Attributes:
        param: the field that is wrong, if it is one.
        code: what programs compare, such as `"model_not_found"`.
        headers: of the response.
    """

    def __init__(self, message: str, status: int = 400, *, param=None, code=None, headers=None):
        super().__init__(message)
        self.status, self.param, self.code, self.headers = status, param, code, headers

    @property
    def content(self) -> dict:
        """OpenAI's schema of errors."""
        kind = TYPES.get(self.status, TYPES[500 if self.status >= 500 else 400])
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}

    @property
    def response(self):
        """It as a response."""
        from starlette.responses import Response

        content = json.dumps(self.content)
        return Response(content, self.status, self.headers, media_type="application/json")


def received(value: object) -> str:
    """A value of a request, cut where it is long."""
    try:
        text = json.dumps(value)
    except RecursionError:
        return "too many levels"
    return text if len(text) <= 100 else f"{text[:97]}..."
