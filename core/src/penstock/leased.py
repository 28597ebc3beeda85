"""For connectors with leases: a `Consumer` of which only the calls to the backend are left to write.

class AcmeConsumer(LeasedConsumer[AcmeMessage]):
    def __init__(self, name, options):
        super().__init__(name, options, log, remedy="raise `lease`", most=500)

    async def consume(self, max_messages, timeout):
        messages = await self._poller.poll(lambda: self._receive(max_messages), timeout)
        self.leases.deliver(messages)
        return messages

    async def delete(self, messages):           # so do `requeue` and `prolong`
        return [messages[position] for position in await self._client.delete(messages)]  # those that were not ours

Beside these it writes `connect` and `close`, and what else of `Consumer` the backend can do.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from time import monotonic
from typing import Any, ClassVar, Generic, TypeVar

from penstock.bulk import chunks, run_at_once
from penstock.connectors import Consumer
from penstock.leases import Leases, Settlements
from penstock.message import QueueMessage
from penstock.turns import Turns

M = TypeVar("M", bound=QueueMessage)

SHUTDOWN_TIMEOUT = 9.0  # seconds of the 10 that a shutdown may take


class LeasedConsumer(Consumer, Generic[M]):
    """Settles in bulk, extends before it settles, and releases what it holds at shutdown.

    Args:
        name, options: As for every `Consumer`.
        log: The connector's logger.
        remedy: What users can do if leases end too early.
        most: Messages that one call to the backend may have.
        at_once: Calls of one kind that may be under way. If it is 1, an extension and a settlement never are at the
            same time; for a backend whose extension changes what a settlement shows.

    Attributes:
        leases: What is held; `consume` delivers to it.
        turns: Held during each settlement, and during each extension if `at_once` is 1.
    """

    close_timeout: ClassVar[float] = 0.5
    """Seconds that `close` may take; so much less is left for what is released before."""

    def __init__(
        self, name: str, options: Any, log: logging.Logger, *, remedy: str, most: int, at_once: int = 1
    ) -> None:
        super().__init__(name, options)
        self.leases = Leases[M](name, remedy, log)
        self.turns = Turns()
        self._most, self._at_once = most, at_once
        self._settlements = Settlements(
            self.leases, self.turns, self.delete, self.requeue, lambda: most, at_once=at_once
        )

    @property
    def lost_leases(self) -> int:
        """How many leases ended before they were extended; their messages are, or will be, delivered again."""
        return self.leases.lost

    @abstractmethod
    async def delete(self, messages: Sequence[M]) -> Collection[M]:
        """Settle these for good in the backend; returns those that were not ours any more."""

    @abstractmethod
    async def requeue(self, messages: Sequence[M], delay: float) -> Collection[M]:
        """Make these visible again after `delay` seconds; returns those that were not ours any more."""

    async def prolong(self, messages: Sequence[M]) -> Collection[M]:  # noqa: ARG002
        """Extend these leases to a full span from now; returns those that were not ours any more.

        Where the fence is this worker's clock, it calls `leases.extend`, too.
        """
        return ()

    async def record_calls(self, messages: Sequence[M], calls: int) -> None:
        """Record so many calls that have not ended, for `begin_call`; 0 removes the record."""

    async def collect(self) -> None:
        """At shutdown: fetch no more, and deliver to `leases` what has come and `consume` has not returned."""

    @abstractmethod
    async def close(self) -> None:
        """Close the client for good: the end of `shutdown`."""

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        """See `Consumer.on_success`."""
        return await self._settlements.delete(messages)

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int | None:
        """See `Consumer.on_fail`."""
        return await self._settlements.requeue(messages, delay)

    async def extend(self, messages: Sequence[QueueMessage]) -> None:
        """See `Consumer.extend`."""
        await run_at_once((partial(self._extend, some) for some in chunks(messages, self._most)), self._at_once)

    async def _extend(self, messages: Sequence[QueueMessage]) -> None:
        async with self.turns.first() if self._at_once == 1 else nullcontext():
            # What was settled while this call waited is not lost.
            if held := self.leases.held(messages):
                self.leases.lose(await self.prolong(held))

    async def begin_call(self, messages: Sequence[QueueMessage]) -> None:
        """See `Consumer.begin_call`."""
        await self._record({message: message.abandoned or 0 for message in messages})

    async def end_call(self, messages: Sequence[QueueMessage]) -> None:
        """See `Consumer.end_call`."""
        await self._record(dict.fromkeys(messages, 0))

    async def _record(self, calls: Mapping[QueueMessage, int]) -> None:
        async with self.turns:
            for number in set(calls.values()):
                of_number = [message for message, each in calls.items() if each == number]
                for some in chunks(self.leases.held(of_number), self._most):
                    await self.record_calls(some, number)

    async def shutdown(self) -> None:
        """See `Consumer.shutdown`: what is not settled comes to others at once."""
        deadline = monotonic() + SHUTDOWN_TIMEOUT - self.close_timeout
        try:
            await self.collect()
            await self._settlements.close(deadline - monotonic())
        finally:
            await self.close()
