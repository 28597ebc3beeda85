"""Messages out of a table, under leases that are extended, ended or given back, always fenced."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Sequence

from psycopg import sql

from penstock.connectors import Consumer, Producer, Transacted
from penstock.errors import ConnectorError, NotConnected
from penstock.message import QueueMessage, Record
from penstock_postgres.connection import DURABLY, Connection, Query
from penstock_postgres.fence import missed
from penstock_postgres.message import LOST, PostgresMessage, tokens
from penstock_postgres.message_table import MessageTable
from penstock_postgres.options import PostgresOptions, TableOptions
from penstock_postgres.producer import PostgresProducer
from penstock_postgres.queue_shape import QueueShape
from penstock_postgres.settling import settle
from penstock_postgres.statements import statement
from penstock_postgres.transactions import store_and_settle
from penstock_postgres.user_table import UserTable

WAKE_EVERY = 0.1  # seconds between two looks for ended delays and leases while there is other work
SHORTEST_PAUSE = 0.01  # seconds between two looks at an empty queue
PATIENCE_AT_THE_END = 2.0  # seconds for each answer, of the 10 that a shutdown may take; later, leases simply run out
FIRST_CLAIM = 100  # messages; what bodies weigh is not known yet
MOST_BYTES = 16 * 1024 * 1024  # of bodies in one claim; of a table of the user's going by the last one
LONGEST_DELAY = 1e9  # seconds, 31 years; PostgreSQL's times end somewhere
MOST_COUNTED = 100_000  # messages that `lag` counts; to count a million takes a second, every five seconds

log = logging.getLogger("penstock.postgres")


class PostgresConsumer(Consumer):
    """Reads one queue: `postgres` out of the table of messages, `postgres.table` out of a table of the user's.

    A claim hides rows for the time of the lease and writes a token into them. No row stays locked while the function
    runs, so a slow one holds up neither vacuum nor others. All that follows happens only where the token still is.

    Two sessions: one claims and waits, the other one settles meanwhile.

    Attributes:
        lost_leases: How many leases ended, and were taken by others, before they were extended.
    """

    def __init__(self, name: str, options: PostgresOptions | TableOptions) -> None:
        super().__init__(name, options)
        self._queue = queue_shape(name, options)
        # A claim that a crash of the server undoes was never made: its messages are delivered again. So none of them
        # waits for the disk; what settles does.
        greetings: list[Query] = [sql.SQL("SET synchronous_commit = off")]
        if self._queue.channel is not None:
            greetings.append(sql.SQL("LISTEN {}").format(sql.Identifier(self._queue.channel)))
        self._claiming = Connection(options, *greetings)
        self._settling = Connection(options, DURABLY)
        self._worker = f"{socket.gethostname()}:{os.getpid()}"
        self._held: set[PostgresMessage] = set()
        self._tokens = tokens()
        self._ready = False
        self._most = FIRST_CLAIM
        # By the monotonic clock. Kept from one call to the next: an empty queue is asked no more often for short calls.
        self._look_at = 0.0
        self._wake_at = 0.0
        self.lost_leases = 0

    @property
    def address(self) -> tuple[str, ...]:
        """Server, port, database and user."""
        return self._settling.address.server

    async def connect(self) -> None:
        """See `Consumer.connect`. What was delivered before stays settleable: a token belongs to no session."""
        async with self._settling.lock:
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
        while True:
            if time.monotonic() < self._look_at:
                await self._wait(deadline)
            if time.monotonic() >= self._look_at and (messages := await self._look(min(max_messages, self._most))):
                return messages
            if time.monotonic() >= deadline:
                return []

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
        ours = _ours(messages)
        async with self._settling.lock:
            late = await settle(self._settling, self._queue, ours)
        self._held.difference_update(ours)
        return len(late)

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int | None:
        """See `Consumer.on_fail`: visible again in their old places, now or after `delay` seconds."""
        if not messages:
            return 0
        # NaN as well, which compares as nothing does.
        return len(messages) - await self._release(
            _ours(messages), min(delay, LONGEST_DELAY) if delay and delay > 0 else 0.0
        )

    async def _release(self, messages: Sequence[PostgresMessage], delay: float) -> int:
        """Make messages visible; returns how many were still ours."""
        channel = self._queue.channel
        async with self._settling.lock:
            given = await self._settling.run(self._queue.release, {**self._queue.fence(messages), "delay": delay})
            if given and channel is not None:  # with a delay, too: whoever waits shall know for how long
                await self._settling.run(statement("notify", {}), {"channel": channel})
        self._look_within(delay)
        self._held.difference_update(messages)
        return len(given)

    async def extend(self, messages: Sequence[QueueMessage]) -> None:
        """See `Consumer.extend`: hidden for another full lease from now."""
        async with self._settling.lock:
            # Settled while this call waited: no longer ours, and not lost either.
            ours = [message for message in _ours(messages) if message in self._held]
            if not ours:
                return
            parameters = {**self._queue.fence(ours), "lease": self.options.lease}
            kept = await self._settling.run(self._queue.extend, parameters)
        self._lose(missed(ours, kept))

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
        ours = _ours(messages)
        shapes = [(producer.queue, records) for producer, records in outputs if isinstance(producer, PostgresProducer)]
        async with self._settling.lock:
            done = await store_and_settle(self._settling, self._queue, ours, shapes)
        if done.committed:
            self._held.difference_update(ours)
        else:
            self._held.difference_update(done.lost)
        return done

    async def shutdown(self) -> None:
        """See `Consumer.shutdown`: unsettled messages are visible to others at once."""
        held = list(self._held)
        try:
            if held:
                # No cancellation: psycopg would ask the server to end the statement, and wait for that for ten seconds.
                self._settling.hurry(PATIENCE_AT_THE_END)
                await self._settling.open()  # it may be lost, and the server back
                await self._release(held, 0.0)
        except ConnectorError as error:
            # Nothing is lost, only late.
            log.warning("queue %s: %d messages come back when their leases end: %s", self.name, len(held), error)
        finally:
            await self._claiming.close()
            await self._settling.close()


def queue_shape(name: str, options: PostgresOptions | TableOptions) -> QueueShape:
    """What a queue is in the database, which its options tell."""
    return UserTable(name, options) if isinstance(options, TableOptions) else MessageTable(name, options)


def _ours(messages: Sequence[QueueMessage]) -> Sequence[PostgresMessage]:
    return messages  # type: ignore[return-value]  # what we delivered, comes back
