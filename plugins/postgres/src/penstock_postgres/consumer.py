"""Messages out of a table, under leases that are extended, ended or requeued; every change is fenced by a token."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from penstock.bulk import AdaptiveLimit
from penstock.connectors import Backlog, Consumer, Probed, Producer, Transacted
from penstock.leases import Leases, Settlements
from penstock.message import BrowsedMessage, QueueMessage, Record
from penstock.turns import Call, Joined
from penstock_postgres.browsing import Browser
from penstock_postgres.claims import NOT_DURABLY, Claims
from penstock_postgres.message import PostgresMessage
from penstock_postgres.message_table import MessageTable
from penstock_postgres.options import PostgresOptions, TableOptions
from penstock_postgres.probing import probe
from penstock_postgres.producer import PostgresProducer
from penstock_postgres.queue_table import QueueTable
from penstock_postgres.session import DURABLY, MAX_STATEMENT_RECORDS, Session
from penstock_postgres.statements import statement
from penstock_postgres.transactions import Work, store_and_settle
from penstock_postgres.user_table import UserTable
from penstock_postgres.writes import not_ours, settle

MAX_DELAY = 1e9  # seconds, 31 years; PostgreSQL's times have an end
MAX_LAG = 100_000  # messages that `lag` counts; counting a million takes a second, every five seconds
MIN_EXTEND_TIMEOUT = 1.0  # seconds for an extension, however short the lease is
SHUTDOWN_ANSWER = 2.0  # seconds for each answer during a shutdown, which may take 10
SHUTDOWN_REQUEUE = 6.0  # seconds for reconnecting and requeueing; after that, leases simply end

log = logging.getLogger("penstock.postgres")


class PostgresConsumer(Consumer):
    """Reads one queue: `postgres` from the table of messages, `postgres.table` from a table of the user's.

    A claim hides rows for the time of the lease and writes a token into them. No row stays locked while the function
    runs, so a slow function blocks neither vacuum nor other consumers. Every later statement changes a row only while
    the token is still there.

    There are three sessions: one claims and waits, one settles, and one only extends leases, so that an extension never
    waits for a settlement. The last is opened for a slow function, and closed when a lease passes without an extension.
    """

    def __init__(self, name: str, options: PostgresOptions | TableOptions) -> None:
        super().__init__(name, options)
        self._queue = queue_table(name, options)
        self._claims = Claims(self._queue, options)
        self._settling = Session(options, DURABLY)
        self.server = f"PostgreSQL at {self._settling.address}"
        self._extending = Session(options, NOT_DURABLY)
        # A longer wait would leave no time for a second attempt.
        self._extending.limit_timeout(max(MIN_EXTEND_TIMEOUT, options.lease / 3))
        self._extended_at: float | None = None  # when that session was last used, while it is open
        self._browser = Browser(queue_table(name, options), options)
        self._leases = Leases[PostgresMessage](name, f"raise `lease` ({options.lease:g} s)", log)
        self._row_limit = AdaptiveLimit(MAX_STATEMENT_RECORDS)  # rows in one transaction
        self._settlements = Settlements(
            self._leases, self._settling.lock, self._delete, self._requeue, lambda: self._row_limit.value
        )
        self._transactions = Joined(self._settling.lock, self._transact, lambda: self._row_limit.value)
        self._ready = False

    @property
    def address(self) -> tuple[str, ...]:
        """Server, port, database and user."""
        return self._settling.address.server

    @property
    def lost_leases(self) -> int:
        """How many leases ended, and were taken by others, before they were extended."""
        return self._leases.lost

    async def connect(self) -> None:
        """See `Consumer.connect`. Earlier deliveries can still be settled, because a token belongs to no session."""
        # While a settlement uses the session, it will notice a loss itself, and must not be waited for.
        if not (self._ready and self._settling.lock.locked()):
            async with self._settling.lock.first():
                # The table is checked again after each loss: it may be another server, or one that was restored.
                if await self._settling.open() or not self._ready:
                    self._ready = False
                    await self._queue.prepare_to_consume(self._settling)
                    self._ready = True
        await self._claims.open()
        self.lease = self.options.lease

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """See `Consumer.consume`. A notification, the end of a delay or lease, or `poll_interval` ends the wait."""
        await self._suspend_extending()
        messages = await self._claims.next(max_messages, timeout)
        self._leases.deliver(messages)
        return messages

    async def claim(self, positions: Sequence[str]) -> Sequence[QueueMessage]:
        """See `Consumer.claim`."""
        messages = await self._claims.chosen(positions)
        self._leases.deliver(messages)
        return messages

    async def _suspend_extending(self) -> None:
        """Close the session for extensions if it is not used: most functions are fast."""
        if self._extended_at is not None and time.monotonic() - self._extended_at > self.options.lease:
            async with self._extending.lock:
                self._extended_at = None
                await self._extending.suspend()

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        """See `Consumer.on_success`: deletes rows where the token is still ours."""
        return await self._settlements.delete(messages)

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int | None:
        """See `Consumer.on_fail`: visible again in their old places, now or after `delay` seconds."""
        return await self._settlements.requeue(messages, delay)

    async def _delete(self, messages: Sequence[PostgresMessage]) -> list[PostgresMessage]:
        with self._row_limit.measure(len(messages), self._settling.timeout):
            return await settle(self._settling, self._queue, messages)

    async def _requeue(self, messages: Sequence[PostgresMessage], delay: float) -> list[PostgresMessage]:
        delay = min(delay, MAX_DELAY)
        with self._row_limit.measure(len(messages), self._settling.timeout):
            rows = await self._settling.run(self._queue.release, {**self._queue.fence(messages), "delay": delay})
            if self._queue.channel is not None and rows:
                # Also with a delay, so that waiting consumers learn when to look again.
                await self._settling.run(statement("notify", {}), {"channel": self._queue.channel})
        self._claims.look_within(delay)
        return not_ours(messages, rows)

    async def extend(self, messages: Sequence[QueueMessage]) -> None:
        """See `Consumer.extend`: hidden for another full lease from now."""
        async with self._extending.lock:
            held = self._leases.held(messages)
            if not held:
                return
            if not self._extending.is_good:
                await self._extending.open()
            self._extended_at = time.monotonic()
            parameters = {**self._queue.fence(held), "lease": self.options.lease}
            kept = await self._extending.run(self._queue.extend, parameters)
        self._leases.lose(not_ours(held, kept))

    async def begin_call(self, messages: Sequence[QueueMessage]) -> None:
        """See `Consumer.begin_call`."""
        await self._record_calls(messages, [message.abandoned or 0 for message in messages])

    async def end_call(self, messages: Sequence[QueueMessage]) -> None:
        """See `Consumer.end_call`."""
        await self._record_calls(messages, [0] * len(messages))

    async def _record_calls(self, messages: Sequence[QueueMessage], calls: Sequence[int]) -> None:
        if self._queue.record_calls is not None:
            async with self._settling.lock:
                parameters = {**self._queue.fence(_ours(messages)), "calls": calls}
                await self._settling.run(self._queue.record_calls, parameters)

    async def lag(self) -> int | None:
        """Messages that wait, delayed ones included, leased ones not; at most 100,000 of each kind are counted."""
        async with self._settling.lock:
            [[waiting]] = await self._settling.run(self._queue.lag, {**self._queue.scope, "most": MAX_LAG})
        return int(waiting)

    async def probe(self) -> Sequence[Probed]:
        """See `Consumer.probe`: in a session of its own."""
        return await probe(self.name, self.options, "input")

    async def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        """See `Consumer.browse`. Messages are sorted by id."""
        return await self._browser.browse(limit, after)

    async def backlog(self) -> Backlog:
        """See `Consumer.backlog`. Every row of the queue is read."""
        return await self._browser.backlog()

    def transaction_problem(self, producer: Producer) -> str | None:
        """See `Consumer.transaction_problem`."""
        if not isinstance(producer, PostgresProducer):
            return "it is not a PostgreSQL queue"
        if producer.address != self.address:
            return "its `dsn` leads to another server, database or user"
        return None

    async def transact(
        self, messages: Sequence[QueueMessage], outputs: Sequence[tuple[Producer, Sequence[Record]]]
    ) -> Transacted:
        """See `Consumer.transact`."""
        queues = [(producer.queue, records) for producer, records in outputs if isinstance(producer, PostgresProducer)]
        work = Work(_ours(messages), queues)
        return await self._transactions(work, work.weight)

    async def _transact(self, calls: Sequence[Call[Work, Transacted]]) -> None:
        messages = [message for call in calls for message in call.request.messages]
        weight = sum(call.weight for call in calls)
        with self._leases.settling(messages), self._row_limit.measure(weight, self._settling.timeout):
            try:
                await store_and_settle(self._settling, self._queue, calls)
            finally:
                for call in calls:
                    if (done := call.given) is not None:
                        self._leases.settle(call.request.messages if done.committed else _ours(done.lost))

    async def shutdown(self) -> None:
        """See `Consumer.shutdown`: unsettled messages are visible to others at once."""
        try:
            await self._end_settlements()
            await self._leases.release(self._requeue_at_shutdown, SHUTDOWN_REQUEUE)
            for joined in (self._transactions, self._settlements):
                await joined.close(SHUTDOWN_ANSWER)
        finally:
            for session in (self._claims.session, self._extending, self._settling, self._browser):
                await session.close()

    async def _end_settlements(self) -> None:
        """Let a settlement end whose caller was cancelled; what it does not commit is requeued."""
        try:
            async with asyncio.timeout(SHUTDOWN_ANSWER), self._settling.lock.first():
                return
        except TimeoutError:
            # Not cancelled: psycopg would ask the server to end the statement, and wait up to ten seconds for that.
            self._settling.cut()

    async def _requeue_at_shutdown(self, held: list[PostgresMessage]) -> None:
        self._settling.limit_timeout(SHUTDOWN_ANSWER)
        await self._settling.open()  # it may be lost while the server is back
        async with self._settling.lock:
            await self._requeue(held, 0.0)


def queue_table(name: str, options: PostgresOptions | TableOptions) -> QueueTable:
    """What a queue is in the database, which its options tell."""
    return UserTable(name, options) if isinstance(options, TableOptions) else MessageTable(name, options)


def _ours(messages: Sequence[QueueMessage]) -> Sequence[PostgresMessage]:
    return messages  # type: ignore[return-value]  # the engine returns what `consume` gave it
