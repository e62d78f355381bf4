"""Events on their way from the engine's thread to the tasks that answer."""

import asyncio
import collections
import contextlib
import time

from keras_griffin.serving.engine.job import Ended, Event, Failed, Token


class Inbox:
    """The events of one request's jobs, for the task that answers it.

    Args:
        num_jobs: of the request.
        is_streamed: whether the task wants each event when it comes, rather than all at the end.
    """

    def __init__(self, num_jobs: int, is_streamed: bool):
        self._left, self._is_streamed = num_jobs, is_streamed
        self._events: list[tuple[int, Event]] = []
        self._has_news = asyncio.Event()
        #: When the first token came, as `time.perf_counter` says.
        self.first_token_at: float | None = None

    def put(self, index: int, event: Event) -> None:
        """An event of the job with that index."""
        self._events.append((index, event))
        if isinstance(event, Token) and self.first_token_at is None:
            self.first_token_at = time.perf_counter()
        self._left -= isinstance(event, Ended)
        if self._is_streamed or not self._left or isinstance(event, Failed):
            self._has_news.set()

    async def take(self) -> list[tuple[int, Event]]:
        """Wait for events; all that have come."""
        await self._has_news.wait()
        self._has_news.clear()
        events, self._events = self._events, []
        return events


class Deliveries:
    """From the engine's thread to inboxes: the event loop is woken once for all events that come before it looks.

    A step of the engine makes an event for each row, and to wake a loop takes longer than to make them.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: collections.deque[tuple[Inbox, int, Event]] = collections.deque()
        self._is_woken = False

    def put(self, inbox: Inbox, index: int, event: Event) -> None:
        """Called in any thread."""
        self._events.append((inbox, index, event))
        if not self._is_woken:
            self._is_woken = True
            # A server that was made to end at once has closed it.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._hand_out)

    def _hand_out(self):
        # First: an event that comes from now on wakes the loop once more.
        self._is_woken = False
        while self._events:
            inbox, index, event = self._events.popleft()
            inbox.put(index, event)
