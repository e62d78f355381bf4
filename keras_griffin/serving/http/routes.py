"""What stands under each path."""

import asyncio
import contextlib
import functools
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

from keras_griffin.serving.engine.engine import Engine, Full
from keras_griffin.serving.engine.job import Event, Job
from keras_griffin.serving.http.answering import Answering, body_of
from keras_griffin.serving.http.inbox import Deliveries, Inbox
from keras_griffin.serving.http.metrics import Metrics
from keras_griffin.serving.http.protocol import Asked, Protocol
from keras_griffin.serving.http.refusal import Refusal
from keras_griffin.serving.http.replies import Reply

#: The page runs what it holds alone, as it says itself; no other page may frame it.
PAGE_HEADERS = {"content-security-policy": "frame-ancestors 'none'", "x-content-type-options": "nosniff"}


class Routes:
    """The endpoints of an application.

    Args:
        engine: answers.
        protocol: reads requests.
        most_bytes: of a body.
        most_open: how many replies there are at once, with those that slow clients have not taken.
    """

    def __init__(self, engine: Engine, protocol: Protocol, most_bytes: int, most_open: int):
        self._engine, self._protocol, self._most_bytes, self._most_open = engine, protocol, most_bytes, most_open
        self._num_open = 0
        self._page = Path(__file__).with_name("page.html").read_bytes()
        name, created = protocol.name, int(time.time())
        self._card = {"id": name, "object": "model", "created": created, "owned_by": "keras_griffin"}
        self.metrics = Metrics(engine.measure)

    def table(self) -> list:
        """Starlette's routes."""
        from starlette.routing import Route

        def post(path, read):
            return Route(path, functools.partial(self._answer, read), methods=["POST"])

        return [
            Route("/", self._index),
            Route("/health", self._health),
            Route("/metrics", self._metrics),
            Route("/v1/models", self._models),
            Route("/v1/models/{name:path}", self._model),
            post("/v1/completions", self._protocol.completion),
            post("/v1/chat/completions", self._protocol.chat),
        ]

    def exception_handlers(self) -> dict:
        """All errors as OpenAI's schema has them."""
        from starlette.exceptions import HTTPException
        from starlette.requests import ClientDisconnect

        async def refuse(request, error):
            return error.response

        async def refuse_of_starlette(request, error):
            message = f"The server has no {request.method} {request.url.path}."
            return Refusal(message, error.status_code, headers=error.headers).response

        async def fail(request, error):
            # The fault goes on to the ASGI server, which logs it and closes the connection.
            return Refusal("The server has failed; its log says why.", 500, headers={"connection": "close"}).response

        async def ignore(request, error):
            return None

        return {Refusal: refuse, HTTPException: refuse_of_starlette, ClientDisconnect: ignore, Exception: fail}

    @contextlib.asynccontextmanager
    async def lifespan(self, application):
        """Run the engine."""
        self._deliveries = Deliveries()
        self._engine.start()
        try:
            yield
        finally:
            await asyncio.to_thread(self._engine.close)

    async def _answer(self, read: Callable[[bytes], Asked], request):
        body = await body_of(request, self._most_bytes)
        # In a thread: long prompts and states take their time.
        asked = await asyncio.to_thread(read, body)
        reply = Reply(asked, self._protocol.name, self._protocol.tokenizer)
        inbox = Inbox(len(reply.choices), asked.is_streamed)

        def deliver(index: int, event: Event):
            self._deliveries.put(inbox, index, event)

        jobs = self._submitted(asked.jobs(deliver))
        self._num_open += 1
        return Answering(self._engine, jobs, inbox, reply, self._protocol, self.metrics, self._note_end)

    def _note_end(self):
        self._num_open -= 1

    def _submitted(self, groups: list[list[Job]]) -> list[Job]:
        """All jobs of a request, which the engine has taken."""
        jobs: list[Job] = []
        try:
            if self._num_open >= self._most_open:
                raise Full
            for group in groups:
                self._engine.submit(group)
                jobs += group
        except Full as error:
            for job in jobs:
                self._engine.cancel(job)
            if not self._engine.is_alive:
                raise Refusal("The server is stopping.", 503) from error
            seconds = math.ceil(self._engine.seconds_to_wait())
            message = f"The server has no room for another request; try again in {seconds} s."
            raise Refusal(message, 429, code="rate_limit_exceeded", headers={"retry-after": str(seconds)}) from error
        return jobs

    async def _index(self, request):
        from starlette.responses import HTMLResponse

        return HTMLResponse(self._page, headers=PAGE_HEADERS)

    async def _health(self, request):
        if not self._engine.is_alive:
            raise Refusal("The engine has stopped.", 503)
        return _json({"status": "ok"})

    async def _metrics(self, request):
        from starlette.responses import PlainTextResponse

        return PlainTextResponse(self.metrics.text())

    async def _models(self, request):
        return _json({"object": "list", "data": [self._card]})

    async def _model(self, request):
        self._protocol.check_name(request.path_params["name"])
        return _json(self._card)


def _json(content):
    from starlette.responses import Response

    return Response(json.dumps(content), media_type="application/json")
