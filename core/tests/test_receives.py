"""A request to receive is never cancelled while its consumer lives: what it brings reaches a caller."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from penstock.errors import NotConnected
from penstock.receives import Receives

log = logging.getLogger("penstock.acme")


def run(work: Any) -> Any:
    async def main() -> Any:
        async with asyncio.timeout(15):
            return await work

    return asyncio.run(main())


class Server:
    """Answers a request when messages are put, or after `wait` seconds without one."""

    def __init__(self, wait: float = 60.0) -> None:
        self.wait = wait
        self.asked: list[int] = []
        self.waiting = 0
        self.most_waiting = 0
        self.cancelled = 0
        self.fails: Exception | None = None
        self._messages: list[int] = []
        self._put = asyncio.Condition()

    async def put(self, *messages: int) -> None:
        async with self._put:
            self._messages += messages
            self._put.notify_all()

    async def receive(self, count: int) -> Sequence[int]:
        self.asked.append(count)
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        try:
            await asyncio.sleep(0.002)  # the way there
            async with self._put:
                try:
                    async with asyncio.timeout(self.wait):
                        await self._put.wait_for(lambda: self._messages or self.fails)
                except TimeoutError:
                    return []
                if self.fails is not None:
                    raise self.fails
                taken, self._messages = self._messages[:count], self._messages[count:]
                return taken
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.waiting -= 1


def requests(server: Server, at_once: int = 1) -> Receives[int]:
    return Receives("q", server.receive, log, max_messages=3, at_once=at_once)


def test_a_request_that_outlasts_its_call_is_left_under_way() -> None:
    """The call returns in time; the next one gets what the same request brings."""

    async def main() -> None:
        server = Server()
        receives = requests(server)
        assert await receives.take(10, 0.0) == []
        assert await receives.take(10, 0.01) == []
        await server.put(1)
        assert await receives.take(10, 10.0) == [1]
        assert server.asked[0] == 3
        assert server.cancelled == 0
        await receives.close(0.0)

    run(main())


def test_no_more_is_asked_for_than_is_wanted() -> None:
    """However many requests may be under way; what came beyond a call's wish waits for the next."""

    async def main() -> None:
        server = Server(wait=0.0)
        receives = requests(server, at_once=8)
        assert await receives.take(0, 0.0) == []
        assert server.asked == []
        await server.put(*range(100))
        seen: list[int] = []
        while len(seen) < 100:
            seen += await receives.take(5, 10.0)
            assert len(seen) + len(server._messages) >= 100 - 5
        assert seen == [*range(100)]

    run(main())


def test_requests_that_come_back_full_are_joined_by_more() -> None:
    """One waits at an empty queue; up to `at_once` under load; one again when the queue is empty."""

    async def main() -> None:
        server = Server(wait=0.01)
        receives = requests(server, at_once=4)
        await receives.take(100, 0.05)
        assert server.most_waiting == 1
        await server.put(*range(60))
        seen: list[int] = []
        while len(seen) < 60:
            seen += await receives.take(100, 10.0)
        assert sorted(seen) == [*range(60)]
        assert server.most_waiting == 4
        await receives.take(100, 0.2)
        server.most_waiting = 0
        await receives.take(100, 0.05)
        assert server.most_waiting == 1

    run(main())


def test_an_error_is_raised_after_what_has_come() -> None:
    """Once; and then there is a new request."""

    async def main() -> None:
        answers = iter([[1, 2], NotConnected("away"), [3], [4]])

        async def receive(_count: int) -> Sequence[int]:
            answer = next(answers)
            if isinstance(answer, NotConnected):
                raise answer
            return answer

        receives = Receives("q", receive, log, max_messages=2, at_once=2)
        assert await receives.take(2, 10.0) == [1, 2]
        assert await receives.take(4, 10.0) == [3]
        with pytest.raises(NotConnected, match="away"):
            await receives.take(2, 10.0)
        assert await receives.take(2, 10.0) == [4]

    run(main())


def test_closing_returns_what_requests_still_bring(caplog: pytest.LogCaptureFixture) -> None:
    """One without an answer is given up, and the log says so."""

    async def main() -> None:
        server = Server()
        receives = requests(server)
        assert await receives.take(10, 0.0) == []
        await asyncio.sleep(0.01)
        closing = asyncio.create_task(receives.close(10.0))
        await asyncio.sleep(0)
        await server.put(1, 2)
        assert await closing == [1, 2]
        assert caplog.records == []

        assert await receives.take(10, 0.01) == []
        assert await receives.close(0.01) == []
        assert server.waiting == 0
        assert [record.message for record in caplog.records] == [
            "queue q: 1 requests had no answer within 0.01 s; what they bring comes back when its lease ends"
        ]

    run(main())


def test_a_new_connection_keeps_what_the_old_one_brought(caplog: pytest.LogCaptureFixture) -> None:
    """The error of the old one is forgotten. Without a log, it tells of no request that it gives up."""

    async def main() -> None:
        answers = iter([[1, 2], NotConnected("away"), [3]])

        async def receive(_count: int) -> Sequence[int]:
            answer = next(answers, None)
            if answer is None:
                await asyncio.sleep(60)
            if isinstance(answer, NotConnected):
                raise answer
            return answer or ()

        receives = Receives("q", receive, None, max_messages=2)
        assert await receives.take(1, 0.0) == []
        await receives.end(10.0)
        assert await receives.take(2, 10.0) == [1, 2]
        assert await receives.take(2, 0.0) == []
        await receives.end(10.0)
        assert await receives.take(2, 10.0) == [3]
        assert await receives.take(2, 0.0) == []
        await receives.end(0.01)
        assert caplog.records == []

    run(main())
