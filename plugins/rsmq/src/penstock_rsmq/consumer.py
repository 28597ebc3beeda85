"""Messages out of an RSMQ queue, under leases that are extended, ended or given back, always fenced."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from penstock.connectors import Consumer
from penstock.errors import ConnectorError, FatalConnectorError
from penstock.message import BrowsedMessage, QueueMessage
from penstock.turns import Call, Joined, Turns
from penstock_rsmq.browsing import Browser
from penstock_rsmq.client import RsmqClient
from penstock_rsmq.keys import sent_at
from penstock_rsmq.scripts import DELETE, LAG, MOST_BYTES, MOST_MESSAGES, RECEIVE, RECORD_CALLS, VISIBILITY

FIRST_PAUSE = 0.005  # seconds between two looks at a queue that has just become empty; doubled up to `poll_interval`
KEEP_MARKS = 30 * 24 * 3600  # seconds after the last mark; messages that other clients delete leave theirs behind
MOST_LOST = 100_000  # ids that are remembered
FIRST_MESSAGES = 50  # in the first call: what bodies weigh is not known yet
GIVE_BACK_WITHIN = 8.0  # seconds of the 10 that a shutdown may take; later, leases simply run out

_LOST = "-1"  # no score is negative, so this token fences every call

log = logging.getLogger("penstock.rsmq")


class RsmqMessage(QueueMessage):
    """One delivery; `message_context` and `position` are the id, `attempts` is RSMQ's receive count.

    Attributes:
        token: The score that this delivery gave the message in the sorted set; it is ours while that stands.
    """

    __slots__ = ("token",)

    message_context: str

    def __init__(self, message_id: str, message: bytes, attempts: int, token: str, abandoned: int = 0) -> None:
        # Not through super(): this runs for every message.
        self.message_context = message_id
        self.message = message
        self.key = None
        self.headers = ()
        self.attempts = attempts
        self.position = message_id
        self.token = token
        self.abandoned = abandoned

    @property
    def timestamp(self) -> float | None:  # type: ignore[override]  # read from the id when somebody asks
        """When it was sent."""
        return sent_at(self.message_context)


class RsmqConsumer(Consumer):
    """Reads one queue.

    RSMQ has no order that survives a redelivery, no receive that waits on the server, and no owner of a message but the
    time until which it is hidden: a later owner leaves a later time, so that time is the fencing token.

    Attributes:
        lost_leases: How many leases ended before they were extended; their messages are, or will be, delivered again.
    """

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self._client = RsmqClient(name, options)
        self._browser = Browser(name, options)
        self._held: set[RsmqMessage] = set()
        self._lost_ids: set[str] = set()  # whose leases ended here, and which did not come again yet
        # An extension changes the token that a deletion shows, so the two take turns; an extension has the next one,
        # however many settlements wait.
        self._turns = Turns()
        self._deleted = Joined(self._turns, self._delete, lambda: MOST_MESSAGES)
        self._released = Joined(self._turns, self._release, lambda: MOST_MESSAGES)
        self._lease_ms = 0
        self._most = FIRST_MESSAGES
        self._pause = FIRST_PAUSE
        self.lost_leases = 0

    async def connect(self) -> None:
        """See `Consumer.connect`. What was delivered before stays settleable: a token belongs to no connection."""
        attributes = await self._client.connect()
        self.lease = attributes.vt if self.options.vt is None else self.options.vt
        if self.lease <= 0:
            raise FatalConnectorError(
                f"queue {self.name!r} has a vt of 0, which hides a message from nobody; set `vt` in its config"
            )
        self._lease_ms = round(self.lease * 1000)

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """See `Consumer.consume`. Looks again after 5 ms, and less and less often down to every `poll_interval`."""
        deadline = time.monotonic() + timeout
        while True:
            messages = await self._receive(max_messages)
            if messages:
                self._pause = FIRST_PAUSE
                return messages
            left = deadline - time.monotonic()
            if left <= 0:
                return messages
            await asyncio.sleep(min(self._pause, left))
            self._pause = min(2 * self._pause, self.options.poll_interval)

    async def _receive(self, max_messages: int) -> list[RsmqMessage]:
        messages: list[RsmqMessage] = []
        while len(messages) < max_messages:
            wanted = min(max_messages - len(messages), self._most)
            try:
                answer = await self._client.run(RECEIVE, self._lease_ms, wanted, MOST_BYTES)
            except ConnectorError:
                if messages:
                    break  # these are leased and must be worked on; the next call meets the error again
                raise
            batch = self._unpacked(answer)
            messages += batch
            if len(batch) < wanted:
                break
        self._held.update(messages)
        return messages

    def _unpacked(self, answer: Any) -> list[RsmqMessage]:
        if answer is None:
            return []
        token, heads, bodies, orphans = answer[0].decode(), answer[1].decode().split(" "), answer[2], answer[3]
        if orphans:
            log.warning("queue %s: %d ids without a body were removed", self.name, orphans)
        batch: list[RsmqMessage] = []
        if not bodies and heads == [""]:
            return batch
        start = 0
        for i in range(0, len(heads), 3):
            end = start + int(heads[i + 2])
            batch.append(RsmqMessage(heads[i], bodies[start:end], int(heads[i + 1]), token))
            start = end
        self._suspect(batch, answer[4].decode().split())
        # As many as weigh no more than a call may, going by the last: few of large ones, all 500 of small ones.
        self._most = max(1, min(MOST_MESSAGES, MOST_BYTES * len(batch) // max(len(bodies), 1)))
        return batch

    def _suspect(self, batch: Sequence[RsmqMessage], suspects: Sequence[str]) -> None:
        """Fill `abandoned`, from positions and numbers. A lease that ended in this process is nobody's death."""
        if not suspects:
            return
        ours = self._lost_ids.union(message.message_context for message in self._held)
        for position, abandoned in zip(suspects[::2], suspects[1::2], strict=True):
            message = batch[int(position)]
            if message.message_context not in ours:
                message.abandoned = int(abandoned)
        self._lost_ids.difference_update(message.message_context for message in batch)

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        """See `Consumer.on_success`: deletes, if the lease is still ours."""
        return await self._deleted(_ours(messages), len(messages))

    async def _delete(self, calls: Sequence[Call[Sequence[RsmqMessage], int]]) -> None:
        left: set[RsmqMessage] = set()
        for part in _parts([message for call in calls for message in call.request]):
            left.update(part[position] for position in await self._client.run(DELETE, _deliveries(part)))
            self._held.difference_update(part)
        self._remember(left)
        for call in calls:
            call.answer(sum(message in left for message in call.request))

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int | None:
        """See `Consumer.on_fail`: visible at once, behind what is visible already, or after `delay` seconds."""
        return await self._released((round((delay or 0.0) * 1000), _ours(messages)), len(messages))

    async def _release(self, calls: Sequence[Call[tuple[int, Sequence[RsmqMessage]], int]]) -> None:
        by_delay: dict[int, list[RsmqMessage]] = {}
        for call in calls:
            milliseconds, messages = call.request
            by_delay.setdefault(milliseconds, []).extend(messages)
        left: set[RsmqMessage] = set()
        for milliseconds, every in by_delay.items():
            for part in _parts(every):
                answer = await self._client.run(VISIBILITY, milliseconds, _deliveries(part), KEEP_MARKS)
                left.update(part[position] for position in answer[1:])
                self._held.difference_update(part)
        self._remember(left)
        for call in calls:
            call.answer(sum(message in left for message in call.request[1]))

    async def extend(self, messages: Sequence[QueueMessage]) -> None:
        """See `Consumer.extend`: hidden for another full lease from now, under a new token."""
        for part in _parts(_ours(messages)):
            async with self._turns.first():
                # Settled while this call waited: no longer ours, and not lost either.
                await self._extend([message for message in part if message in self._held])

    async def _extend(self, messages: Sequence[RsmqMessage]) -> None:
        if not messages:
            return
        answer = await self._client.run(VISIBILITY, self._lease_ms, _deliveries(messages), 0)
        token = answer[0].decode()
        for message in messages:
            message.token = token
        self._lose([messages[position] for position in answer[1:]])

    async def begin_call(self, messages: Sequence[QueueMessage]) -> None:
        """See `Consumer.begin_call`."""
        await self._record_calls(messages, [message.abandoned or 0 for message in messages])

    async def end_call(self, messages: Sequence[QueueMessage]) -> None:
        """See `Consumer.end_call`."""
        await self._record_calls(messages, [0] * len(messages))

    async def _record_calls(self, messages: Sequence[QueueMessage], calls: Sequence[int]) -> None:
        numbers = iter(calls)
        async with self._turns:
            for part in _parts(_ours(messages)):
                recorded = " ".join(f"{_deliveries([message])} {next(numbers)}" for message in part)
                await self._client.run(RECORD_CALLS, recorded, KEEP_MARKS)

    def _lose(self, messages: Sequence[RsmqMessage]) -> None:
        if not messages:
            return
        for message in messages:
            message.token = _LOST
        self._held.difference_update(messages)
        self._remember(messages)
        self.lost_leases += len(messages)
        log.warning(
            "queue %s: %d leases ran out before they were extended, the first of message %s; raise vt (%s s)",
            self.name,
            len(messages),
            messages[0].message_context,
            self.lease,
        )

    def _remember(self, lost: Iterable[RsmqMessage]) -> None:
        """These leases ended in a process that lives: if it gets the messages again, nobody has died of them."""
        if len(self._lost_ids) > MOST_LOST:
            self._lost_ids.clear()  # others took them
        self._lost_ids.update(message.message_context for message in lost)

    async def lag(self) -> int | None:
        """How many messages are visible now.

        Neither those in flight nor those sent or given back with a delay that has not passed: RSMQ hides both alike.
        """
        count: int = await self._client.run(LAG)
        return count

    async def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        """See `Consumer.browse`. Sorted by id, so in the order of sending; the cost of a page grows with the queue."""
        return await self._browser.browse(limit, after)

    async def shutdown(self) -> None:
        """See `Consumer.shutdown`: unsettled messages are visible to others at once."""
        try:
            async with asyncio.timeout(GIVE_BACK_WITHIN):
                for joined in (self._deleted, self._released):
                    await joined.close(GIVE_BACK_WITHIN)
                if self._held:
                    await self.on_fail(list(self._held))
        except (ConnectorError, TimeoutError) as error:
            # Nothing is lost, only late.
            log.warning("queue %s: %d messages come back when their leases end: %s", self.name, len(self._held), error)
        finally:
            await self._client.close()
            await self._browser.close()


def _ours(messages: Sequence[QueueMessage]) -> Sequence[RsmqMessage]:
    return messages  # type: ignore[return-value]  # what we delivered, comes back


def _parts(messages: Sequence[RsmqMessage]) -> Iterator[Sequence[RsmqMessage]]:
    for start in range(0, len(messages), MOST_MESSAGES):
        yield messages[start : start + MOST_MESSAGES]


def _deliveries(messages: Sequence[RsmqMessage]) -> str:
    return " ".join([f"{message.message_context} {message.token}" for message in messages])
