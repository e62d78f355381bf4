"""What stands around the application: the key, the count and the log of all requests."""

import hmac
import logging
import time

from keras_griffin.serving.http.metrics import Metrics
from keras_griffin.serving.http.refusal import Refusal

LOG = logging.getLogger("keras_griffin.serving")
#: Anybody may ask for these: a page that asks for the key itself, and whether the server lives. Not for the metrics,
#: which tell how much others ask for; Prometheus can send a key.
OPEN = ("/", "/health")
ROUTES = (*OPEN, "/metrics", "/v1/models", "/v1/completions", "/v1/chat/completions")


class Gate:
    """Middleware of ASGI: asks for the key, if there is one, and notes each request and its status.

    Args:
        application: what stands behind it.
        api_key: what `Authorization: Bearer` must give; None lets everybody in.
        metrics: where requests are counted.
    """

    def __init__(self, application, *, api_key: str | None, metrics: Metrics):
        self._application, self._metrics = application, metrics
        self._authorization = None if api_key is None else f"Bearer {api_key}".encode()

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        status, begun = 500, time.perf_counter()
        has_begun = False

        async def noting(message):
            nonlocal status, has_begun
            if message["type"] == "http.response.start":
                status, has_begun = message["status"], True
            await send(message)

        path = scope["path"].removeprefix(scope.get("root_path", ""))
        application = self._application if self._admits(scope, path) else _unknown_key().response
        try:
            await application(scope, receive, noting)
            # As other servers note a client that hung up before it was answered.
            status = status if has_begun else 499
        finally:
            self._metrics.requests.labels(route_of(path), status).inc()
            seconds = time.perf_counter() - begun
            LOG.info("%s %s %d %.3f s", scope["method"], escaped(path), status, seconds)

    def _admits(self, scope, path):
        if self._authorization is None or path in OPEN:
            return True
        given = dict(scope["headers"]).get(b"authorization", b"")
        return hmac.compare_digest(given, self._authorization)


def _unknown_key():
    message = "The request must have the server's key, as Authorization: Bearer KEY."
    return Refusal(message, 401, code="invalid_api_key", headers={"www-authenticate": "Bearer"})


def route_of(path: str) -> str:
    """The route of a path, of which there are few, whatever clients ask for."""
    if path in ROUTES:
        return path
    return "/v1/models/{id}" if path.startswith("/v1/models/") else "other"


def escaped(text: str) -> str:
    """A client's text as one line of a log that can't control a terminal."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text[:200])
