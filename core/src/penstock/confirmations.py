"""For connectors whose client answers each record on its own: one wait for all answers of a call.

async def produce(self, records):
    confirmations = Confirmations[ProduceError | None](len(records))
    for index, record in enumerate(records):
        self._client.publish(record.message, callback=partial(confirmations.report, index))
    return await confirmations.wait(timeout=30.0)
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable
from contextlib import suppress
from typing import Generic, TypeVar

from penstock.errors import NotConnected
from penstock.timeouts import Watchdog

R = TypeVar("R")


class Confirmations(Generic[R]):
    """The answers to the requests of one call. Made on the event loop; answers may come on any thread.

    Args:
        count: How many answers are expected.
    """

    def __init__(self, count: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()
        self._lock = threading.Lock()
        self._results: dict[int, R] = {}
        self._count = count
        self._watchdog: Watchdog | None = None
        self._error: BaseException | None = None
        if not count:
            self._done.set()

    @property
    def reported(self) -> dict[int, R]:
        """The answers so far, by the index of their request."""
        with self._lock:
            return dict(self._results)

    def report(self, index: int, result: R) -> None:
        """The answer to request number `index`; a second one is ignored."""
        with self._lock:
            if index in self._results:
                return
            self._results[index] = result
            complete = len(self._results) == self._count
        if self._watchdog is not None:
            self._watchdog.feed()
        if complete:
            self.end()

    def end(self, error: BaseException | None = None) -> None:
        """No more answers will come; with an error, `wait` raises it."""
        self._error = self._error or error
        with suppress(RuntimeError):  # the event loop is closed, so no caller waits
            self._loop.call_soon_threadsafe(self._done.set)

    async def wait(self, timeout: float, sending: Awaitable[object] | None = None) -> list[R]:
        """Wait until all answers are there.

        Args:
            timeout: Seconds without any answer after which the backend counts as away.
            sending: Awaited first, under the same limit.

        Returns:
            The answers in the order of the requests; fewer than expected if `end` was called before.

        Raises:
            NotConnected: nothing came for `timeout` seconds; `reported` says what is known.
        """
        try:
            async with asyncio.timeout(None) as limit:
                with Watchdog(timeout, lambda: limit.reschedule(self._loop.time())) as self._watchdog:
                    if sending is not None:
                        await sending
                    await self._done.wait()
        except TimeoutError as error:
            missing = self._count - len(self._results)
            raise NotConnected(f"no answer for {timeout:g} s; {missing} of {self._count} are missing") from error
        finally:
            self._watchdog = None
        if self._error is not None:
            raise self._error
        return [self._results[index] for index in sorted(self._results)]
