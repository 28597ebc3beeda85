"""Messages out of a stream, shared by the workers of a group, under leases that are always fenced."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import uuid
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime
from time import monotonic
from typing import Any

from penstock.bulk import AdaptiveLimit, chunks
from penstock.connectors import Backlog, Probed
from penstock.errors import ConnectorError, NotConnected
from penstock.leased import LeasedConsumer
from penstock.message import BrowsedMessage, QueueMessage
from penstock_redis.connection import MAX_BYTES, MAX_MESSAGES, Connection, Script
from penstock_redis.streams.entries import opened
from penstock_redis.streams.stream import join_group, stream_keys, trim

FIRST_MESSAGES = 50  # in the first call: the size of entries is not known yet
LOOK = 0.5  # seconds between two looks for what others have requeued
LOOK_FOR_LEASES = 5.0  # the same for leases that have ended, or a quarter of a lease if that is less
LONGEST_READ = 1.0  # seconds that one read may block; less than `timeout`, after which a server counts as away
GONE_AFTER = 24 * 3600 * 1000  # milliseconds without a sign after which a consumer without entries is removed
COUNTED = 1_000  # entries that are counted one by one, where the server does not know the lag
_ID = re.compile(r"\d+-\d+")

ACK = Script.load("streams/fence", "streams/ack")
REQUEUE = Script.load("streams/fence", "streams/requeue")
EXTEND = Script.load("streams/fence", "streams/extend")
RECORD_CALLS = Script.load("streams/fence", "streams/record_calls")
TAKE, JOIN, LEAVE = Script.load("streams/take"), Script.load("streams/join"), Script.load("streams/leave")
COUNT, BROWSE, SEEK = Script.load("streams/count"), Script.load("streams/browse"), Script.load("streams/seek")

log = logging.getLogger("penstock.redis")


class StreamMessage(QueueMessage):
    """One delivery; `message_context` and `position` are the entry's id, `attempts` is Redis's delivery count.

    Attributes:
        delivery: Id and count, which the server compares.
    """

    __slots__ = ("delivery",)

    message_context: str

    def __init__(self, entry_id: str, fields: Sequence[bytes], count: int = 1, abandoned: int = 0) -> None:
        # Not through super(): this runs for every message.
        self.message_context = self.position = entry_id
        self.message, self.key, self.headers = opened(fields)
        self.attempts = count
        self.abandoned = abandoned
        self.delivery = f"{entry_id} {count}"

    @property
    def timestamp(self) -> float | None:  # type: ignore[override]  # read from the id on first use
        """When it was stored, by the server's clock."""
        return int(self.message_context.partition("-")[0]) / 1000


class StreamConsumer(LeasedConsumer[StreamMessage]):
    """Reads one stream for one group.

    A delivery is ours as long as the group's list of pending entries has it under our name with our count. What was
    requeued belongs to a consumer that does not exist, so that it can be told from what a dead worker has.
    """

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options, log, remedy="raise `lease`", most=MAX_MESSAGES)
        self.server = f"Redis at {options.address}"
        self.lease = options.lease
        self._group: str = options.group
        self._me = options.consumer or f"penstock:{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._redis = Connection(name, options, stream_keys(name, options.group))
        self._limit = AdaptiveLimit(MAX_MESSAGES, FIRST_MESSAGES)
        self._look_at = self._look_for_leases_at = 0.0
        self._unread = False  # whether the server may have delivered what never arrived

    async def connect(self) -> None:
        """See `Consumer.connect`. What was delivered before can still be settled: a name belongs to no connection."""
        await self._redis.open()
        await join_group(self._redis, self.options)
        await self._redis.run(JOIN, self._group, self._me, round(self.options.lease * 1000), GONE_AFTER)
        await self._redis.warn_once()
        self._unread, self._look_at, self._look_for_leases_at = True, 0.0, 0.0

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """See `Consumer.consume`. What waits to be delivered again comes first."""
        deadline = monotonic() + timeout
        if self._unread:
            await self._requeue_unread()
        while True:
            messages = await self._take(max_messages)
            if len(messages) < max_messages:
                wait = 0.0 if messages else min(deadline, self._look_at) - monotonic()
                try:
                    messages += await self._read(max_messages - len(messages), wait)
                except ConnectorError:
                    if not messages:
                        raise  # else these are leased and must be worked on; the next call meets the error again
            if messages or monotonic() >= deadline:
                return messages

    async def _read(self, wanted: int, wait: float) -> list[StreamMessage]:
        """Entries that no consumer of the group has had."""
        count = min(wanted, self._limit.value)
        wait = min(wait, LONGEST_READ, self.options.timeout / 2)
        block = ("BLOCK", max(1, round(wait * 1000))) if wait > 0 else ()
        words = ("XREADGROUP", "GROUP", self._group, self._me, "COUNT", count, *block, "STREAMS", self.name, ">")
        answer = await self._redis.command(*words)
        entries = answer[0][1] if answer else ()
        return self._delivered([StreamMessage(entry_id.decode(), fields) for entry_id, fields in entries])

    async def _take(self, wanted: int) -> list[StreamMessage]:
        """Entries that were requeued and are due, and those whose leases have ended; most often it is not time yet."""
        now = monotonic()
        if now < self._look_at:
            return []
        wanted, leases = min(wanted, self._limit.value), now >= self._look_for_leases_at
        words = (self._group, self._me, round(self.options.lease * 1000), wanted, int(leases))
        taken, gone, due_in = await self._redis.run(TAKE, *words)
        if len(taken) < wanted:
            self._look_at = now + (min(LOOK, due_in / 1000) if due_in >= 0 else LOOK)
            if leases:
                self._look_for_leases_at = now + min(LOOK_FOR_LEASES, self.options.lease / 4)
        if gone:
            log.error(
                "queue %s: %d entries are LOST, the first of them %s: another program deleted or trimmed them (XDEL, "
                "XTRIM, XADD with MAXLEN) before group %s had acknowledged them",
                self.name, len(gone), gone[0].decode(), self._group, extra={"count": len(gone)},
            )  # fmt: skip
        return self._delivered([StreamMessage(entry_id.decode(), *rest) for entry_id, *rest in taken])

    def _delivered(self, messages: list[StreamMessage]) -> list[StreamMessage]:
        if messages:
            self.leases.deliver(messages)
            self._limit.fit(len(messages), sum(len(each.message or b"") for each in messages), MAX_BYTES)
        return messages

    async def _requeue_unread(self) -> None:
        """What the server delivered into a connection that broke, or to this name before a crash, comes again now."""
        async with self.turns:
            words = ("XPENDING", self.name, self._group, "-", "+", 100_000, self._me)
            held = {message.message_context for message in self.leases}
            pending = [(entry[0].decode(), entry[3]) for entry in await self._redis.command(*words)]
            for some in chunks([f"{each} {count}" for each, count in pending if each not in held], MAX_MESSAGES):
                await self._redis.run(REQUEUE, self._group, self._me, " ".join(some), 0)
        self._unread = False

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        """See `Consumer.on_success`: acknowledges, if the lease is still ours."""
        late = await super().on_success(messages)
        await trim(self._redis, self.options)
        return late

    async def delete(self, messages: Sequence[StreamMessage]) -> Collection[StreamMessage]:
        """See `LeasedConsumer.delete`."""
        return await self._fenced(ACK, messages)

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int | None:
        """See `Consumer.on_fail`: at once, or after `delay` seconds."""
        late = await super().on_fail(messages, delay)
        self._look_at = 0.0
        return late

    async def requeue(self, messages: Sequence[StreamMessage], delay: float) -> Collection[StreamMessage]:
        """See `LeasedConsumer.requeue`."""
        return await self._fenced(REQUEUE, messages, round(delay * 1000))

    async def prolong(self, messages: Sequence[StreamMessage]) -> Collection[StreamMessage]:
        """See `LeasedConsumer.prolong`."""
        return await self._fenced(EXTEND, messages)

    async def record_calls(self, messages: Sequence[StreamMessage], calls: int) -> None:
        """See `LeasedConsumer.record_calls`."""
        await self._fenced(RECORD_CALLS, messages, calls)

    async def _fenced(self, script: Script, messages: Sequence[StreamMessage], *more: int) -> list[StreamMessage]:
        """Run a script for those of these deliveries that are still ours; returns the others."""
        deliveries = " ".join([message.delivery for message in messages])
        late = await self._redis.run(script, self._group, self._me, deliveries, *more)
        return [messages[position] for position in late]

    async def lag(self) -> int | None:
        """Entries that no worker of the group has had, and what was requeued.

        Redis 6 does not count them, nor a newer one after an entry was deleted: then it is at least so many.
        """
        new, _pending, ready, delayed, *_ = await self._count()
        return int(new + ready + delayed)

    async def backlog(self) -> Backlog:
        """See `Consumer.backlog`."""
        await self._redis.open()
        new, pending, ready, delayed, oldest, exact = await self._count()
        since = int(oldest.partition(b"-")[0]) / 1000 if oldest else None
        return Backlog(new + ready if exact else None, pending - ready - delayed, delayed, since)

    async def _count(self) -> Any:
        return await self._redis.run(COUNT, self._group, self.options.start, COUNTED, MAX_BYTES)

    async def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        """See `Consumer.browse`. Also what this group has acknowledged is shown, as long as the stream keeps it."""
        if after is not None:
            self._check_position(after)
        await self._redis.open()
        found = await self._redis.run(BROWSE, self._group, f"({after}" if after else "-", limit, MAX_BYTES)
        return [_browsed(StreamMessage(each.decode(), fields), state, count) for each, fields, state, count in found]

    def _check_position(self, position: str) -> None:
        if not _ID.fullmatch(position):
            raise ConnectorError(f"{position!r} is not a position of stream {self.name!r}; a position is an entry's id")

    async def seek(self, to: str | datetime) -> None:
        """See `Consumer.seek`. What is pending in the group is forgotten: what stands behind the place comes anyway."""
        to = f"{round(to.timestamp() * 1000)}-0" if isinstance(to, datetime) else to
        if (place := {"beginning": "0", "end": "$"}.get(to)) is None:
            self._check_position(to)
            place = _before(to)
        await self._redis.open()
        await join_group(self._redis, self.options)
        if at_work := await self._redis.run(SEEK, self._group, place):
            raise ConnectorError(
                f"group {self._group!r} of stream {self.name!r} has the consumer {at_work.decode()!r}, and only a "
                "group without can be moved; stop its workers first, or wait until their leases have ended"
            )

    async def probe(self) -> Sequence[Probed]:
        """See `Consumer.probe`."""
        answers = await self._redis.probe()
        try:
            await self._count()
        except NotConnected:
            if not self.options.create:
                raise ConnectorError(f"stream {self.name!r} does not exist, and `create` is false") from None
        exists = Probed("exists", True, f"stream {self.name!r}; what is missing is created when a worker starts")
        return [*answers, Probed("authorised", True, "may run scripts"), exists]

    async def close(self) -> None:
        """See `LeasedConsumer.close`."""
        try:
            with suppress(ConnectorError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._redis.run(LEAVE, self._group, self._me)
        finally:
            await self._redis.close()


def _before(entry_id: str) -> str:
    """The highest id below this one."""
    milliseconds, number = map(int, entry_id.split("-"))
    before = max(0, (milliseconds << 64) + number - 1)
    return f"{before >> 64}-{before & 2**64 - 1}"


def _browsed(message: StreamMessage, state: bytes, count: int) -> BrowsedMessage:
    return BrowsedMessage(
        message.message, message.position, key=message.key, headers=message.headers, timestamp=message.timestamp,
        attempts=count, state=state.decode(),  # type: ignore[arg-type]  # the script has our words
    )  # fmt: skip
