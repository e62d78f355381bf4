"""A response that is made while the engine works; it ends with its client."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import numpy as np

from keras_griffin.serving.engine.engine import Full
from keras_griffin.serving.engine.job import Ended, Failed, Job
from keras_griffin.serving.http.inbox import Inbox
from keras_griffin.serving.http.metrics import Metrics
from keras_griffin.serving.http.protocol import Protocol
from keras_griffin.serving.http.refusal import Refusal
from keras_griffin.serving.http.replies import Reply, error_chunk, refusal_of
from keras_griffin.tokenizers.special_tokens import TURN_MARKS

#: A client that takes nothing for so many seconds is gone.
MOST_SECONDS = 60.0


class Answering:
    """An ASGI response: the reply to a request whose jobs the engine has.

    Args:
        engine: has the jobs.
        jobs: all of the request, which are cancelled when the client hangs up.
        inbox: gets their events.
        reply: what is made of them.
        protocol: of the model.
        metrics: where times are noted.
        end: is called when it is over.
    """

    def __init__(
        self, engine, jobs, inbox: Inbox, reply: Reply, protocol: Protocol, metrics: Metrics, end: Callable[[], None]
    ):
        self._engine, self._jobs, self._inbox, self._reply = engine, jobs, inbox, reply
        self._protocol, self._metrics, self._end = protocol, metrics, end
        self._begun = time.perf_counter()

    async def __call__(self, scope, receive, send) -> None:
        async def send_in_time(message):
            async with asyncio.timeout(MOST_SECONDS):
                await send(message)

        is_streamed = self._reply.asked.is_streamed
        write = self._stream(send_in_time) if is_streamed else self._whole(scope, receive, send_in_time)
        try:
            await while_connected(receive, write)
        finally:
            for job in self._jobs:
                self._engine.cancel(job)
            self._end()
            self._note_times()

    async def _whole(self, scope, receive, send):
        from starlette.responses import Response

        failed, _ = await self._take()
        if failed is not None:
            raise refusal_of(failed)
        content = json.dumps(self._reply.whole)
        await Response(content, media_type="application/json")(scope, receive, send)

    async def _stream(self, send):
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        content = self._reply.opening()
        failed = None
        while True:
            if content:
                # A reader that is slow finds what has come meanwhile in one piece; the engine never waits for it.
                await send({"type": "http.response.body", "body": content, "more_body": True})
            if failed is not None or self._reply.is_over:
                break
            failed, indices = await self._take()
            content = self._reply.chunks(indices)
        last = b"" if failed is None else error_chunk(refusal_of(failed))
        await send({"type": "http.response.body", "body": last})

    async def _take(self) -> tuple[Failed | None, Iterable[int]]:
        """Note the events that come next; the failure that ends them, and the indices of their choices."""
        events = await self._inbox.take()
        indices = dict.fromkeys(index for index, _ in events)
        for index, event in events:
            if isinstance(event, Failed):
                return event, indices
            choice = self._reply.choices[index]
            choice.take(event)
            if isinstance(event, Ended) and event.state is not None:
                is_ended = self._protocol.is_ended(choice.last_token, event.reason)
                choice.state = await asyncio.to_thread(self._protocol.signed.sign, event.state, is_ended=is_ended)
        if self._reply.is_over:
            self._keep_as_text()
        return None, indices

    def _keep_as_text(self):
        """Read the answer of a chat as its next turn will have it: a text may encode to other tokens than these."""
        asked, text = self._reply.asked, self._reply.choices[0].text
        if not asked.is_chat or asked.n > 1 or asked.shared["state"] is not None or any(map(text.count, TURN_MARKS)):
            return
        (prompt,) = asked.prompts
        # A full engine has better things to do, and a tokenizer may not take each text.
        with contextlib.suppress(Full, ValueError):
            answer = np.array(self._protocol.chat_format.answer(text), "int32")
            self._engine.submit([Job([*prompt.segments, answer], 0, ignored, seconds=self._protocol.limits.seconds)])

    def _note_times(self):
        if self._inbox.first_token_at is not None:
            self._metrics.first_token_seconds.observe(self._inbox.first_token_at - self._begun)
        if self._reply.is_over:
            self._metrics.answer_seconds.observe(time.perf_counter() - self._begun)


def ignored(event):
    """Nobody waits for it."""


async def while_connected(receive: Callable[[], Coroutine[Any, Any, dict]], work: Coroutine[Any, Any, None]) -> None:
    """Do some work, which ends early when the client hangs up."""
    tasks = working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        if not working.done():
            working.cancel()
    # A client that takes nothing more is a client that has hung up.
    with contextlib.suppress(asyncio.CancelledError, TimeoutError):
        await working


async def _disconnected(receive):
    while (await receive())["type"] != "http.disconnect":
        pass


def refused_body(most_bytes: int) -> Refusal:
    """Of a body above the limit."""
    return Refusal(f"The body must have at most {most_bytes} bytes.", 413)


async def body_of(request, most_bytes: int) -> bytes:
    """The body of a request, counted while it comes."""
    if int(request.headers.get("content-length", 0)) > most_bytes:
        raise refused_body(most_bytes)
    pieces, size = [], 0
    try:
        async with asyncio.timeout(MOST_SECONDS):
            async for piece in request.stream():
                pieces.append(piece)
                size += len(piece)
                if size > most_bytes:
                    raise refused_body(most_bytes)
    except TimeoutError as error:
        raise Refusal(f"The body must come within {MOST_SECONDS:g} s.", 408) from error
    return b"".join(pieces)
