"""Messages out of a table, under leases that are extended, ended or given back, always fenced."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from psycopg import sql

from penstock.connectors import Consumer, Producer, Transacted
from penstock.errors import ConnectorError, NotConnected
from penstock.message import BrowsedMessage, QueueMessage, Record
from penstock.turns import Call, Joined
from penstock_postgres.browsing import Browser
from penstock_postgres.connection import DURABLY, Connection, Query
from penstock_postgres.fence import missed
from penstock_postgres.message import LOST, PostgresMessage, tokens
from penstock_postgres.message_table import MessageTable
from penstock_postgres.options import PostgresOptions, TableOptions
from penstock_postgres.parts import Portion
from penstock_postgres.producer import PostgresProducer
from penstock_postgres.queue_shape import QueueShape
from penstock_postgres.settling import settle_together
from penstock_postgres.statements import statement
from penstock_postgres.transactions import Work, store_and_settle
from penstock_postgres.user_table import UserTable

WAKE_EVERY = 0.1  # seconds between two looks for ended delays and leases while there is other work
SHORTEST_PAUSE = 0.01  # seconds between two looks at an empty queue
PATIENCE_AT_THE_END = 2.0  # seconds for each answer, of the 10 that a shutdown may take; later, leases simply run out
FIRST_CLAIM = 100  # messages; what bodies weigh is not known yet
MOST_BYTES = 16 * 1024 * 1024  # of bodies in one claim; of a table of the user's going by the last one
LONGEST_DELAY = 1e9  # seconds, 31 years; PostgreSQL's times end somewhere
MOST_COUNTED = 100_000  # messages that `lag` counts; to count a million takes a second, every five seconds

SHORTEST_EXTENSION = 1.0  # seconds that an extension may take, however short the lease is

log = logging.getLogger("penstock.postgres")


class PostgresConsumer(Consumer):
    """Reads one queue: `postgres` out of the table of messages, `postgres.table` out of a table of the user's.

    A claim hides rows for the time of the lease and writes a token into them. No row stays locked while the function
    runs, so a slow one holds up neither vacuum nor others. All that follows happens only where the token still is.

    Three sessions: one claims and waits, one settles meanwhile. The third only extends leases, so that these wait for
    no settlement; it is opened for a function that is slow, and closed once a lease has passed without one. Settlements
    that wait are made together.

    Attributes:
        lost_leases: How many leases ended, and were taken by others, before they were extended.
    """

    def __init__(self, name: str, options: PostgresOptions | TableOptions) -> None:
        super().__init__(name, options)
        self._queue = queue_shape(name, options)
        # A claim that a crash of the server undoes was never made: its messages are delivered again. So none of them
        # waits for the disk; what settles does.
        careless = sql.SQL("SET synchronous_commit = off")
        greetings: list[Query] = [careless]
        if self._queue.channel is not None:
            greetings.append(sql.SQL("LISTEN {}").format(sql.Identifier(self._queue.channel)))
        self._claiming = Connection(options, *greetings)
        self._settling = Connection(options, DURABLY)
        self._extending = Connection(options, careless)
        # An answer that takes longer leaves no time for a second attempt.
        self._extending.hurry(max(SHORTEST_EXTENSION, options.lease / 3))
        self._browser = Browser(queue_shape(name, options), options)
        self._portion = Portion()  # of rows in one transaction
        self._transacted = Joined(self._settling.lock, self._transact, lambda: self._portion.most)
        self._deleted = Joined(self._settling.lock, self._delete, lambda: self._portion.most)
        self._released = Joined(self._settling.lock, self._give_back, lambda: self._portion.most)
        self._worker = f"{socket.gethostname()}:{os.getpid()}"
        self._held: set[PostgresMessage] = set()
        self._tokens = tokens()
        self._in_turn: set[PostgresMessage] = set()  # those of `_held` that a statement settles at this moment
        self._ready = False
        self._most = FIRST_CLAIM
        # By the monotonic clock. Kept from one call to the next: an empty queue is asked no more often for short calls.
        self._look_at = 0.0
        self._wake_at = 0.0
        self._extended_at: float | None = None  # when the session for that was used last, while it is open
        self.lost_leases = 0

    @property
    def address(self) -> tuple[str, ...]:
        """Server, port, database and user."""
        return self._settling.address.server

    async def connect(self) -> None:
        """See `Consumer.connect`. What was delivered before stays settleable: a token belongs to no session."""
        # Whoever is using it meanwhile will say so when it is lost, and must not be waited for.
        if not (self._ready and self._settling.lock.locked()):
            async with self._settling.lock.first():
                # Looked at anew after each loss: it may be another server, or the same one after a restore.
                if await self._settling.open() or not self._ready:
                    self._ready = False
                    await self._queue.prepare_to_consume(self._settling)
                    self._ready = True
        if await self._claiming.open():
            self._look_at = 0.0  # nobody listened meanwhile
        self.lease = self.options.lease

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """See `Consumer.consume`. A notification ends the wait, or the time at which something becomes visible, or
        `poll_interval`."""
        deadline = time.monotonic() + timeout
        await self._rest_from_extending()
        while True:
            if time.monotonic() < self._look_at:
                await self._wait(deadline)
            if time.monotonic() >= self._look_at and (messages := await self._look(min(max_messages, self._most))):
                return messages
            if time.monotonic() >= deadline:
                return []

    async def _rest_from_extending(self) -> None:
        """Give the server its session back: most queues have no calls that last."""
        if self._extended_at is not None and time.monotonic() - self._extended_at > self.options.lease:
            async with self._extending.lock:
                self._extended_at = None
                await self._extending.rest()

    async def _look(self, limit: int) -> list[PostgresMessage]:
        self._look_at = time.monotonic() + self.options.poll_interval
        woke = time.monotonic() >= self._wake_at
        if woke:
            if self._queue.channel is not None:
                # psycopg keeps them until somebody asks, and who never has to wait never asks. What they tell of is
                # seen by the claim below.
                await self._claiming.notified(0)
            await self._wake()
        messages = await self._claim(limit)
        if not messages and not woke and await self._wake():
            messages = await self._claim(limit)
        if messages:
            self._look_at = 0.0  # there may be more
        return messages

    async def _claim(self, limit: int) -> list[PostgresMessage]:
        token = next(self._tokens)
        parameters = {
            "limit": limit,
            "bytes": MOST_BYTES,
            "lease": self.options.lease,
            "token": token,
            "worker": self._worker,
        }
        try:
            rows = await self._claiming.run(self._queue.claim, {**parameters, **self._queue.scope})
        except NotConnected:
            self._most = max(1, self._most // 2)  # in case it was more than comes through in `timeout`
            raise
        make = self._queue.message
        messages = [make(row, token) for row in rows]
        if messages:
            self._held.update(messages)
            weight = sum(len(message.message or b"") + len(message.key or b"") for message in messages)
            self._most = max(1, MOST_BYTES * len(messages) // max(weight, 1))
        return messages

    async def _wake(self) -> int:
        [[woken, next_due]] = await self._claiming.run(self._queue.wake, self._queue.scope)
        self._wake_at = time.monotonic() + WAKE_EVERY
        if next_due is not None:
            self._look_within(max(next_due, SHORTEST_PAUSE))
        return int(woken)

    def _look_within(self, seconds: float) -> None:
        self._look_at = min(self._look_at, time.monotonic() + seconds)

    async def _wait(self, deadline: float) -> None:
        pause = max(0.0, min(self._look_at, deadline) - time.monotonic())
        if self._queue.channel is None:
            await asyncio.sleep(pause)
        elif await self._claiming.notified(pause):
            self._look_at = 0.0

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        """See `Consumer.on_success`: deletes, where the token is still ours."""
        if not messages:
            return 0
        return await self._deleted(_ours(messages), len(messages))

    async def _delete(self, calls: Sequence[Call[Sequence[PostgresMessage], int]]) -> None:
        with self._turn_of(message for call in calls for message in call.request) as messages:
            await settle_together(self._settling, self._queue, calls)
            self._held -= messages

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int | None:
        """See `Consumer.on_fail`: visible again in their old places, now or after `delay` seconds."""
        if not messages:
            return 0
        # NaN as well, which compares as nothing does.
        held_back = min(delay, LONGEST_DELAY) if delay and delay > 0 else 0.0
        return await self._released((held_back, _ours(messages)), len(messages))

    async def _give_back(self, calls: Sequence[Call[tuple[float, Sequence[PostgresMessage]], int]]) -> None:
        by_delay: dict[float, list[PostgresMessage]] = {}
        for call in calls:
            delay, messages = call.request
            by_delay.setdefault(delay, []).extend(messages)
        with self._turn_of(message for messages in by_delay.values() for message in messages) as all_of_them:
            late = await self._release(by_delay)
            self._held -= all_of_them
        for call in calls:
            call.answer(sum(message in late for message in call.request[1]))

    async def _release(self, by_delay: Mapping[float, Sequence[PostgresMessage]]) -> set[PostgresMessage]:
        """Make messages visible after their delays; returns those that were no longer ours."""
        late: set[PostgresMessage] = set()
        for delay, messages in by_delay.items():
            given = await self._settling.run(self._queue.release, {**self._queue.fence(messages), "delay": delay})
            late.update(missed(messages, given))
            self._look_within(delay)
        if self._queue.channel is not None and len(late) < sum(map(len, by_delay.values())):
            # With a delay, too: whoever waits shall know for how long.
            await self._settling.run(statement("notify", {}), {"channel": self._queue.channel})
        return late

    @contextmanager
    def _turn_of(self, messages: Iterable[PostgresMessage], weight: int = 0) -> Iterator[set[PostgresMessage]]:
        """While these are settled: what becomes of their rows is our own doing."""
        self._in_turn = set(messages)
        count, began = weight or len(self._in_turn), time.monotonic()
        try:
            yield self._in_turn
        except NotConnected:
            self._portion.failed(count)  # in case it was more than can be done in `timeout`
            raise
        else:
            self._portion.succeeded(count, quickly=time.monotonic() - began < self._settling.timeout / 4)
        finally:
            self._in_turn = set()

    async def extend(self, messages: Sequence[QueueMessage]) -> None:
        """See `Consumer.extend`: hidden for another full lease from now."""
        async with self._extending.lock:
            # Settled while this call waited: no longer ours, and not lost either.
            ours = [message for message in _ours(messages) if message in self._held]
            if not ours:
                return
            if not self._extending.good:
                await self._extending.open()
            self._extended_at = time.monotonic()
            parameters = {**self._queue.fence(ours), "lease": self.options.lease}
            kept = await self._extending.run(self._queue.extend, parameters)
        # What is being settled now, or was meanwhile, is gone for that reason.
        gone = missed(ours, kept)
        self._lose([message for message in gone if message in self._held and message not in self._in_turn])

    async def begin_call(self, messages: Sequence[QueueMessage]) -> None:
        """See `Consumer.begin_call`."""
        await self._record_calls(_ours(messages), [message.abandoned or 0 for message in messages])

    async def end_call(self, messages: Sequence[QueueMessage]) -> None:
        """See `Consumer.end_call`."""
        await self._record_calls(_ours(messages), [0] * len(messages))

    async def _record_calls(self, messages: Sequence[PostgresMessage], calls: Sequence[int]) -> None:
        if self._queue.record_calls is not None:
            async with self._settling.lock:
                parameters = {**self._queue.fence(messages), "calls": calls}
                await self._settling.run(self._queue.record_calls, parameters)

    def _lose(self, messages: Sequence[PostgresMessage]) -> None:
        if not messages:
            return
        for message in messages:
            message.token = LOST
        self._held.difference_update(messages)
        self.lost_leases += len(messages)
        log.warning(
            "queue %s: %d leases ended before they were extended, and others took over, the first of message %s; "
            "raise `lease` (%g s)",
            self.name,
            len(messages),
            messages[0].position,
            self.options.lease,
        )

    async def lag(self) -> int | None:
        """How many messages wait, those held back by a delay included, those in flight not; at most 100,000 of each
        are counted."""
        async with self._settling.lock:
            [[waiting]] = await self._settling.run(self._queue.lag, {**self._queue.scope, "most": MOST_COUNTED})
        return int(waiting)

    async def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        """See `Consumer.browse`. Messages are sorted by id."""
        return await self._browser.browse(limit, after)

    def transaction_problem(self, producer: Producer) -> str | None:
        """See `Consumer.transaction_problem`."""
        if not isinstance(producer, PostgresProducer):
            return "it is no PostgreSQL queue"
        if producer.address != self.address:
            return "its `dsn` leads to another server, database or user"
        return None

    async def transact(
        self, messages: Sequence[QueueMessage], outputs: Sequence[tuple[Producer, Sequence[Record]]]
    ) -> Transacted:
        """See `Consumer.transact`."""
        shapes = [(producer.queue, records) for producer, records in outputs if isinstance(producer, PostgresProducer)]
        work = Work(_ours(messages), shapes)
        return await self._transacted(work, work.weight)

    async def _transact(self, calls: Sequence[Call[Work, Transacted]]) -> None:
        weight = sum(call.weight for call in calls)
        with self._turn_of((message for call in calls for message in call.request.messages), weight):
            try:
                await store_and_settle(self._settling, self._queue, calls)
            finally:
                for call in calls:
                    if (done := call.given) is not None:
                        self._held.difference_update(call.request.messages if done.committed else done.lost)

    async def shutdown(self) -> None:
        """See `Consumer.shutdown`: unsettled messages are visible to others at once."""
        try:
            await self._end_settlements()
            if self._held:
                await self._release_all(list(self._held))
        finally:
            for connection in (self._claiming, self._extending, self._settling, self._browser):
                await connection.close()

    async def _end_settlements(self) -> None:
        """Let go of calls whose callers were cancelled: what was not committed is given back."""
        for joined in (self._transacted, self._deleted, self._released):
            if not await joined.close(PATIENCE_AT_THE_END):
                # Not cancelled: psycopg would ask the server to end the statement, and wait for that for ten seconds.
                self._settling.cut()
                await joined.close(PATIENCE_AT_THE_END)

    async def _release_all(self, held: Sequence[PostgresMessage]) -> None:
        try:
            self._settling.hurry(PATIENCE_AT_THE_END)
            await self._settling.open()  # it may be lost, and the server back
            async with self._settling.lock:
                await self._release({0.0: held})
        except ConnectorError as error:
            # Nothing is lost, only late.
            log.warning("queue %s: %d messages come back when their leases end: %s", self.name, len(held), error)


def queue_shape(name: str, options: PostgresOptions | TableOptions) -> QueueShape:
    """What a queue is in the database, which its options tell."""
    return UserTable(name, options) if isinstance(options, TableOptions) else MessageTable(name, options)


def _ours(messages: Sequence[QueueMessage]) -> Sequence[PostgresMessage]:
    return messages  # type: ignore[return-value]  # what we delivered, comes back
