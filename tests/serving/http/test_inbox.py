import asyncio
import threading

import pytest

from keras_griffin.serving.engine.job import Ended, Failed, Read, Token
from keras_griffin.serving.http.inbox import Deliveries, Inbox

pytestmark = pytest.mark.any_backend

TOKEN, ENDED = Token(97, "a"), Ended("", "stop")


def test_a_stream_gets_events_as_they_come_and_all_that_have_come():
    async def main():
        inbox = Inbox(1, is_streamed=True)
        inbox.put(0, Read(2))
        assert inbox.first_token_at is None
        assert await inbox.take() == [(0, Read(2))]
        inbox.put(0, TOKEN)
        inbox.put(0, ENDED)
        assert inbox.first_token_at is not None
        assert await inbox.take() == [(0, TOKEN), (0, ENDED)]

    asyncio.run(main())


@pytest.mark.parametrize("last", [ENDED, Failed("no")])
def test_an_answer_that_is_whole_is_not_woken_for_each_token(last):
    async def main():
        inbox = Inbox(2, is_streamed=False)
        taken = asyncio.ensure_future(inbox.take())
        inbox.put(0, TOKEN)
        inbox.put(1, ENDED)
        await asyncio.sleep(0)
        assert not taken.done()
        inbox.put(0, last)
        assert await taken == [(0, TOKEN), (1, ENDED), (0, last)]

    asyncio.run(main())


def test_the_loop_is_woken_once_for_all_events_that_come_before_it_looks():
    async def main():
        loop = asyncio.get_running_loop()
        wakes = []
        wake = loop.call_soon_threadsafe
        loop.call_soon_threadsafe = lambda *call: (wakes.append(call), wake(*call))
        deliveries = Deliveries()
        inboxes = [Inbox(1, is_streamed=True) for _ in range(64)]

        def step():
            for inbox in inboxes:
                deliveries.put(inbox, 0, TOKEN)

        for count in (1, 2):
            thread = threading.Thread(target=step)
            thread.start()
            thread.join()
            assert len(wakes) == count
            assert await asyncio.gather(*(inbox.take() for inbox in inboxes)) == [[(0, TOKEN)]] * 64

    asyncio.run(main())


def test_no_event_is_lost_or_overtaken():
    async def main():
        deliveries, inbox = Deliveries(), Inbox(1, is_streamed=True)
        count = 20_000

        def write():
            for number in range(count):
                deliveries.put(inbox, number, TOKEN)

        thread = threading.Thread(target=write)
        thread.start()
        found = []
        async with asyncio.timeout(20):
            while len(found) < count:
                found += [index for index, _ in await inbox.take()]
        thread.join()
        assert found == [*range(count)]

    asyncio.run(main())


def test_an_event_for_a_loop_that_is_closed_is_no_fault():
    async def main():
        return Deliveries(), Inbox(1, is_streamed=True)

    deliveries, inbox = asyncio.run(main())
    deliveries.put(inbox, 0, TOKEN)
