"""For connectors whose server waits for messages itself: requests to receive that are never cancelled.

self._receives = Receives(name, self._receive, log, max_messages=10, at_once=4)

consume:   messages = await self._receives.take(max_messages, timeout)
shutdown:  late = await self._receives.close(5.0)     # to be requeued

A request that is cancelled may have its answer on the way: its messages are hidden then, and no consumer has them. So
`take` leaves a request that lasts longer than its timeout under way, and a later call gets what it brings.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Receives(Generic[T]):
    """Requests under way, and what they have brought.

    One request waits while the queue is empty; while requests come back well filled, their number doubles. What was
    asked for is never more than the caller wants. Brought messages may wait here until the next `take`, so `receive`
    returns with each of them when its lease began.

    Args:
        queue: The queue's name, for the log.
        receive: Asks for up to so many messages, and waits on the server for a limited time.
        log: The connector's logger; None: requests that are given up at the end are nothing to tell.
        max_messages: Of one request.
        at_once: How many requests may be under way.
    """

    def __init__(
        self,
        queue: str,
        receive: Callable[[int], Awaitable[Sequence[T]]],
        log: logging.Logger | None,
        *,
        max_messages: int,
        at_once: int = 1,
    ) -> None:
        self._queue = queue
        self._receive = receive
        self._log = log
        self._max_messages = max_messages
        self._at_once = at_once
        self._wanted = 1  # requests under way
        self._under_way: dict[asyncio.Task[None], int] = {}  # for how many messages each asks
        self._brought: list[T] = []
        self._error: Exception | None = None
        self._changed = asyncio.Event()

    async def take(self, count: int, timeout: float) -> list[T]:
        """Wait for messages as `Consumer.consume` does; what requests bring later, the next call takes.

        Raises:
            Exception: what `receive` raised; not before everything that has come is taken.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        while True:
            self._ask(count)
            if self._brought:
                taken = self._brought[:count]
                del self._brought[: len(taken)]
                return taken
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            self._changed.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._changed.wait()
            except TimeoutError:
                return []

    def _ask(self, count: int) -> None:
        if self._error is not None:
            return
        room = count - len(self._brought) - sum(self._under_way.values())
        while room > 0 and len(self._under_way) < self._wanted:
            asked = min(room, self._max_messages)
            task = asyncio.create_task(self._request(asked))
            self._under_way[task] = asked
            room -= asked

    async def _request(self, count: int) -> None:
        me = asyncio.current_task()
        assert me is not None  # noqa: S101  (for type checkers)
        try:
            brought = await self._receive(count)
        except Exception as error:  # noqa: BLE001  (raised by `take`)
            self._error, self._wanted = error, 1
        else:
            self._brought += brought
            if 2 * len(brought) >= count:
                self._wanted = min(self._at_once, 2 * self._wanted)
            elif not brought:
                self._wanted = 1
        finally:
            self._under_way.pop(me, None)
            self._changed.set()

    async def end(self, timeout: float) -> None:
        """Before a new connection: wait up to `timeout` seconds for the requests under way, and forget their errors."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=timeout)
        if left := list(self._under_way):
            if self._log is not None:
                self._log.warning("queue %s: %d requests had no answer within %g s; what they bring comes back when "
                                  "its lease ends", self._queue, len(left), timeout,
                                  extra={"count": len(left)})  # fmt: skip
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            self._under_way.clear()
        self._error = None

    async def close(self, timeout: float) -> list[T]:
        """End the requests under way.

        Returns:
            What was brought and not taken; the caller requeues it.
        """
        await self.end(timeout)
        brought, self._brought = self._brought, []
        return brought
