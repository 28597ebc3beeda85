"""For connectors whose deliveries are hidden from others for a time: what this consumer holds, and how it ends.

self._leases = Leases[AcmeMessage](name, "raise `lease`", log)
self._settlements = Settlements(self._leases, self._turns, self._delete, self._requeue, lambda: 500)

consume:     self._leases.deliver(messages)
on_success:  return await self._settlements.delete(messages)
on_fail:     return await self._settlements.requeue(messages, delay)
extend:      kept = await self._prolong(self._leases.held(messages)); self._leases.lose(the others)
shutdown:    await self._settlements.close()

A lease may belong to the record, which says how long it lasts. Then its length travels in `message_context`, each
message is delivered with an `until` of its own, and `self.lease` is the shortest that was seen.

Where the backend has no bulk calls, `settle_each` is in the place of `Settlements`. Where a delivery ends with its
connection, `connect` calls `connection_lost` after it had to make a new one.

Where the backend knows messages but no deliveries, the fence is this worker's clock. Then the lease is counted from
before the request, `deliver(messages, until=asked + lease)`, and whatever is not confirmed by then counts as lost.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import Generic, TypeVar

from penstock.bulk import chunks, run_at_once
from penstock.errors import ConnectorError
from penstock.message import QueueMessage
from penstock.turns import Call, Joined, Lock

M = TypeVar("M", bound=QueueMessage)
_Joined = Joined[tuple[Sequence[QueueMessage], float], int]

RELEASE_TIMEOUT = 8.0  # seconds of the 10 that a shutdown may take
MAX_REMEMBERED = 100_000  # positions of messages whose leases ended here


class Leases(Generic[M]):
    """The deliveries that a consumer holds. Used on one thread, or under a lock of the connector's.

    Args:
        queue: The queue's name, for the log.
        remedy: What users can do if leases end too early.
        log: The connector's logger.

    Attributes:
        lost: How many leases ended before they were extended.
    """

    def __init__(self, queue: str, remedy: str, log: logging.Logger) -> None:
        self._queue = queue
        self._remedy = remedy
        self._log = log
        self._until: dict[M, float] = {}  # when each lease ends, by `monotonic`
        self._settling: set[M] = set()
        self._unanswered: set[QueueMessage] = set()  # settled one by one in a call that failed, and will be repeated
        self._ended: set[str] = set()  # positions of messages whose leases ended in this process
        self.lost = 0

    def __len__(self) -> int:
        return len(self._until)

    def __iter__(self) -> Iterator[M]:
        return iter(list(self._until))

    def __contains__(self, message: object) -> bool:
        return message in self._until

    def deliver(self, messages: Collection[M], until: float = math.inf) -> None:
        """Hold these messages.

        Args:
            messages: As `consume` returns them.
            until: When their leases end, by `time.monotonic`; leave it out if the backend fences each delivery.
        """
        self._until.update(dict.fromkeys(messages, until))
        if self._ended:
            self._ended.difference_update(message.position for message in messages)

    def delivered_here(self, messages: Iterable[M]) -> set[M]:
        """The new deliveries whose last lease ended in this process: it is alive, so no worker has died with them.

        Call it before `deliver`.
        """
        known = self._ended.union(message.position for message in self._until)
        return {message for message in messages if message.position in known}

    def held(self, messages: Iterable[QueueMessage]) -> list[M]:
        """The messages that are still held, in order. A lease that has ended by this worker's clock is lost."""
        now, until = monotonic(), self._until
        known: list[M] = [message for message in messages if message in until]
        held = [message for message in known if until[message] > now]
        if len(held) < len(known):
            self.lose([message for message in known if until[message] <= now])
        return held

    def extend(self, messages: Iterable[QueueMessage], until: float) -> None:
        """The backend has prolonged these leases. One that had ended before this call stays lost."""
        for message in self.held(messages):
            self._until[message] = until

    def settle(self, messages: Iterable[M], late: Collection[M] = ()) -> None:
        """Stop holding these: they are deleted or requeued, except those that were `late`."""
        for message in messages:
            self._until.pop(message, None)
        self._remember(late)

    def lose(self, messages: Iterable[M]) -> None:
        """The leases of these ended before they were extended. One that is settled, or being settled, is not lost."""
        lost = [message for message in messages if message in self._until and message not in self._settling]
        if not lost:
            return
        self.settle(lost, late=lost)
        self.lost += len(lost)
        self._log.warning(
            "queue %s: %d leases ended before they were extended, the first of message %s; %s",
            self._queue, len(lost), lost[0].position, self._remedy,
            extra={"position": lost[0].position, "count": len(lost)},
        )  # fmt: skip

    def settle_each(self, messages: Sequence[QueueMessage], settle: Callable[[M], bool]) -> int:
        """Settle one by one, for a backend without bulk calls; returns how many were late.

        Args:
            messages: What `on_success` or `on_fail` got. After a `NotConnected` they come again: what was settled by
                then is not settled twice, and not counted as late.
            settle: Settles one message in the backend; returns whether it was still ours.
        """
        settled, self._unanswered = self._unanswered, set()
        try:
            for message in self.held(messages):
                with self.settling([message]):
                    ours = settle(message)
                self.settle([message], () if ours else [message])
                if ours:
                    settled.add(message)
        except BaseException:
            self._unanswered = settled
            raise
        return sum(message not in settled for message in messages)

    def extend_each(self, messages: Iterable[QueueMessage], extend: Callable[[M], float | None]) -> None:
        """Extend one by one, for a backend without bulk calls.

        Args:
            messages: What `Consumer.extend` got.
            extend: Extends one lease in the backend; returns for how many seconds, or None if it was not ours any more.
        """
        for message in self.held(messages):
            asked = monotonic()
            if (seconds := extend(message)) is None:
                self.lose([message])
            else:
                self.extend([message], asked + seconds)

    def connection_lost(self) -> None:
        """Count all deliveries as lost, because their connection is gone and the server delivers them again."""
        if lost := list(self._until):
            self.settle(lost, late=lost)
            self.lost += len(lost)
            self._log.warning("queue %s: the connection that had %d messages is gone; they are delivered again",
                              self._queue, len(lost))  # fmt: skip

    def _remember(self, messages: Collection[M]) -> None:
        if len(self._ended) > MAX_REMEMBERED:
            self._ended.clear()  # other workers got those messages
        self._ended.update(message.position for message in messages)

    @contextmanager
    def settling(self, messages: Iterable[M]) -> Iterator[None]:
        """While these are settled, an extension that no longer finds them is not a loss."""
        self._settling.update(messages)
        try:
            yield
        finally:
            self._settling.difference_update(messages)

    async def release(self, requeue: Callable[[list[M]], Awaitable[object]], timeout: float = RELEASE_TIMEOUT) -> None:
        """At shutdown: requeue what is held, within `timeout` seconds. Else it comes back when the leases end."""
        try:
            if self._until:
                async with asyncio.timeout(timeout):
                    await requeue(self.held(self))
        except (ConnectorError, TimeoutError) as error:
            self._log.warning(
                "queue %s: %d messages come back when their leases end: %s",
                self._queue, len(self), str(error) or f"no answer within {timeout:g} s",
                extra={"count": len(self)},
            )  # fmt: skip
        finally:
            self._until.clear()


class Settlements(Generic[M]):
    """`on_success` and `on_fail` of a consumer with leases. Calls that wait are made together.

    Args:
        leases: What is held. What is not held any more is counted as late, without asking the backend.
        lock: Held while a group of calls is made.
        delete: Deletes messages in the backend, where they are still ours; returns those that were late.
        requeue: Makes messages visible again after a delay in seconds; returns those that were late.
        limit: How many messages one call of `delete` or `requeue` may have, asked each time.
        at_once: How many such calls may be under way.
    """

    def __init__(
        self,
        leases: Leases[M],
        lock: Lock,
        delete: Callable[[Sequence[M]], Awaitable[Collection[M]]],
        requeue: Callable[[Sequence[M], float], Awaitable[Collection[M]]],
        limit: Callable[[], int],
        *,
        at_once: int = 1,
    ) -> None:
        async def delete_now(messages: Sequence[M], _delay: float) -> Collection[M]:
            return await delete(messages)

        def most() -> int:
            return at_once * limit()

        self._leases = leases
        self._limit = limit
        self._at_once = at_once
        self._unanswered: set[QueueMessage] = set()  # settled in a call that failed afterwards, and will be repeated
        self._deleted: _Joined = Joined(lock, lambda calls: self._settle(calls, delete_now), most)
        self._requeued: _Joined = Joined(lock, lambda calls: self._settle(calls, requeue), most)

    async def delete(self, messages: Sequence[QueueMessage]) -> int:
        """Settle for good; returns how many were late."""
        return await self._deleted((messages, 0.0), len(messages)) if messages else 0

    async def requeue(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int:
        """Make visible again after `delay` seconds; returns how many were late."""
        # NaN is not above 0 either.
        return await self._requeued((messages, delay if delay and delay > 0 else 0.0), len(messages)) if messages else 0

    async def _settle(
        self,
        calls: Sequence[Call[tuple[Sequence[QueueMessage], float], int]],
        settle: Callable[[Sequence[M], float], Awaitable[Collection[M]]],
    ) -> None:
        by_delay: dict[float, list[M]] = {}
        for call in calls:
            messages, delay = call.request
            by_delay.setdefault(delay, []).extend(self._leases.held(messages))
        settled, self._unanswered = self._unanswered, set()
        try:
            for delay, held in by_delay.items():
                with self._leases.settling(held):
                    calls_of_chunks = (
                        partial(self._settle_some, some, delay, settle, settled) for some in chunks(held, self._limit())
                    )
                    await run_at_once(calls_of_chunks, self._at_once)
        except BaseException:
            self._unanswered = settled
            raise
        for call in calls:
            call.answer(sum(message not in settled for message in call.request[0]))

    async def _settle_some(
        self,
        messages: Sequence[M],
        delay: float,
        settle: Callable[[Sequence[M], float], Awaitable[Collection[M]]],
        settled: set[QueueMessage],
    ) -> None:
        # Once more: a lease may have ended while this call waited for others.
        if held := self._leases.held(messages):
            late = set(await settle(held, delay))
            self._leases.settle(held, late)
            settled.update(message for message in held if message not in late)

    async def close(self, timeout: float = RELEASE_TIMEOUT) -> None:
        """At shutdown: let the calls under way end, and requeue what is still held."""

        async def requeue(held: list[M]) -> None:
            await self.requeue(held)

        deadline = monotonic() + timeout
        for joined in (self._deleted, self._requeued):
            await joined.close(max(0.0, deadline - monotonic()))
        await self._leases.release(requeue, max(0.0, deadline - monotonic()))
