"""A poller looks at once, then less and less often, and returns as soon as there is something."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from time import monotonic

from penstock.backoff import Backoff
from penstock.polling import BlockingPoller, Poller

NEVER = Backoff(initial=60.0, jitter=0.0)
SOON = Backoff(initial=0.001, maximum=0.01, jitter=0.0)


class Source:
    """Has something at the n-th look."""

    def __init__(self, at: int) -> None:
        self.looks = 0
        self._at = at

    def look(self) -> Sequence[str]:
        self.looks += 1
        return ["message"] if self.looks == self._at else []

    async def fetch(self) -> Sequence[str]:
        return self.look()


def test_what_is_there_comes_at_once() -> None:
    """Without a pause, also with no time at all; an empty queue is looked at once then."""
    assert asyncio.run(Poller(NEVER).poll(Source(1).fetch, 0.0)) == ["message"]
    assert BlockingPoller(NEVER).poll(Source(1).look, 0.0) == ["message"]
    for source in (Source(2), Source(2)):
        assert asyncio.run(Poller(NEVER).poll(source.fetch, 0.0)) == []
        assert source.looks == 1


def test_it_looks_again_until_something_comes() -> None:
    """Long before the time is up."""
    assert asyncio.run(Poller(SOON).poll(Source(4).fetch, 60.0)) == ["message"]
    assert BlockingPoller(SOON).poll(Source(4).look, 60.0) == ["message"]


def test_it_looks_once_more_when_the_time_is_up() -> None:
    """Which is long before the pause would be over."""
    source, other = Source(2), Source(2)

    assert asyncio.run(Poller(NEVER).poll(source.fetch, 0.01)) == ["message"]
    assert BlockingPoller(NEVER).poll(other.look, 0.01) == ["message"]


def test_the_pauses_grow_over_calls_until_something_comes() -> None:
    """Short calls do not look at an empty queue more often."""
    pauses: list[int] = []

    class Recorded(Backoff):
        def delay(self, failures: int) -> float:
            pauses.append(failures)
            return 0.0

    async def main() -> None:
        poller = Poller(Recorded())
        for source in (Source(9), Source(9), Source(1), Source(9)):
            await poller.poll(source.fetch, 0.0)

    asyncio.run(main())
    blocking = BlockingPoller(Recorded())
    for source in (Source(9), Source(9), Source(1), Source(9)):
        blocking.poll(source.look, 0.0)

    assert pauses == [1, 2, 1] * 2


def test_it_can_be_woken_from_any_thread() -> None:
    """And a call that comes between a look and the pause is not lost."""
    began = monotonic()

    async def main() -> None:
        poller, source = Poller(NEVER), Source(2)
        poller.wake()  # before anything waits: nothing to do

        async def fetch() -> Sequence[str]:
            found = source.look()
            thread = threading.Thread(target=poller.wake)
            thread.start()
            thread.join()
            return found

        assert await poller.poll(fetch, 60.0) == ["message"]

    asyncio.run(main())
    blocking, source = BlockingPoller(NEVER), Source(2)

    def look() -> Sequence[str]:
        blocking.wake()
        return source.look()

    assert blocking.poll(look, 60.0) == ["message"]
    assert monotonic() - began < 30
