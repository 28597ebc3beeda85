"""Messages out of a queue, under leases, and their settlement."""

from __future__ import annotations

import logging
import os
import random
import sqlite3
import time
from collections.abc import Iterable, Sequence
from typing import Any

from penstock.backoff import Backoff
from penstock.connectors import Backlog, BlockingConsumer, BlockingProducer, Probed, Refusal, Transacted
from penstock.errors import ConnectorError
from penstock.message import BrowsedMessage, QueueMessage, Record
from penstock.polling import BlockingPoller
from penstock_sqlite import browsing, statements
from penstock_sqlite.database import Database
from penstock_sqlite.message import SqliteMessage, by_claim, json_list, messages_of
from penstock_sqlite.options import SqliteOptions
from penstock_sqlite.probing import probe
from penstock_sqlite.producer import SqliteProducer
from penstock_sqlite.shared_file import shared_file
from penstock_sqlite.storing import refusals, store

MOST_BYTES = 16 * 2**20  # of bodies in one claim
MOST_COUNTED = 100_000  # messages of each kind that `lag` counts
LOOK_FOR_DEAD = 0.25  # seconds between two looks for consumers whose process has ended
FIRST_PAUSE = 0.001  # seconds between two looks at a queue that has just become empty

log = logging.getLogger("penstock.sqlite")


class SqliteConsumer(BlockingConsumer):
    """Reads one queue.

    A claim marks rows and writes how long the lease lasts; no lock is held while the function runs. What follows
    happens only where the claim still stands in the row. One connection claims, one settles, so that a settlement waits
    for no claim; `browse` opens a third one.
    """

    options: SqliteOptions

    def __init__(self, name: str, options: SqliteOptions) -> None:
        super().__init__(name, options)
        self.lease = options.lease
        self._file = shared_file(options.path)
        self.server = f"SQLite file {options.path}"
        self._claiming = Database(self._file, options, durable=False)
        self._settling = Database(self._file, options, durable=True)
        self._browsing = Database(self._file, options, durable=False)
        # A byte of a file is locked by this number. Kept when the connection is lost, so that what was delivered before
        # can be settled after.
        self._number = random.getrandbits(62)
        self._held: dict[int, int] = {}  # claim → its messages that are not settled
        self._poller = BlockingPoller(Backoff(initial=FIRST_PAUSE, maximum=options.poll_interval))
        self._look_for_dead_at = 0.0

    def connect(self) -> None:
        """See `Consumer.connect`."""
        self._claiming.open()
        self._settling.open()
        with self._claiming.transaction() as connection:
            connection.execute(statements.ENTER, (self._number, self.name, os.getpid()))
            # Before the others can see the number: they take a consumer without a lock for dead.
            self._file.presence.enter(self._number)
        self._file.wake_with(self.name, self._poller.wake)

    def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """See `Consumer.consume`. A record of this process ends a pause."""
        return self._poller.poll(lambda: self._look(max_messages), timeout)

    def _look(self, max_messages: int) -> list[SqliteMessage]:
        if time.monotonic() >= self._look_for_dead_at:
            self._look_for_dead_at = time.monotonic() + LOOK_FOR_DEAD
            self._free_dead()
        [(visible, *dues)] = self._claiming.read(statements.LOOK, {"queue": self.name})
        something_is_due = any(due is not None and due <= time.time() for due in dues)
        return self._claim(max_messages, something_is_due) if visible or something_is_due else []

    def _claim(self, max_messages: int, something_is_due: bool) -> list[SqliteMessage]:
        now = time.time()
        scope = {"queue": self.name, "now": now}
        with self._claiming.transaction() as connection:
            if something_is_due:
                self._free_due(connection, scope)
            limit = _affordable(connection, self.name, max_messages)
            if not limit:
                return []
            row = connection.execute(statements.NEXT, {"queue": self.name, "limit": limit}).fetchone()
            claim = self._mark(connection, row[0])
        return self._delivered(row, claim)

    @staticmethod
    def _free_due(connection: sqlite3.Connection, scope: dict[str, Any]) -> None:
        """Make visible what is due: delays and leases that have ended."""
        connection.execute(statements.END_DELAYS, scope)
        _run(connection, statements.FREE_EXPIRED, scope)

    def _mark(self, connection: sqlite3.Connection, numbers: str) -> int:
        """Claim the rows with these ids."""
        ids, lease_ends = f"[{numbers}]", time.time() + self.options.lease
        claim = connection.execute(statements.NEW_CLAIM, (self.name, self._number, lease_ends, ids)).lastrowid or 0
        connection.execute(statements.CLAIM, {"claim": claim, "ids": ids})
        return claim

    def _delivered(self, row: Sequence[Any], claim: int) -> list[SqliteMessage]:
        messages = messages_of(row, claim, self._number)
        self._held[claim] = len(messages)
        return messages

    def claim(self, positions: Sequence[str]) -> Sequence[QueueMessage]:
        """See `Consumer.claim`. It goes on until all of them are claimed, some of their bodies at a time."""
        messages: list[QueueMessage] = []
        self._free_dead()
        scope = {"queue": self.name, "chosen": json_list(map(int, positions)), "most": MOST_BYTES}
        while len(messages) < len(positions):
            with self._claiming.transaction() as connection:
                self._free_due(connection, {"queue": self.name, "now": time.time()})
                row = connection.execute(statements.CHOSEN, scope).fetchone()
                if row[0] is None:
                    break
                claim = self._mark(connection, row[0])
            messages += self._delivered(row, claim)
        return messages

    def _free_dead(self) -> None:
        """Make the messages of ended processes visible before their leases end."""
        consumers = [number for (number,) in self._claiming.read(statements.CONSUMERS, (self.name,))]
        dead = [number for number in consumers if self._file.presence.is_gone(number)]
        if dead:
            with self._claiming.transaction() as connection:
                for number in dead:
                    _run(connection, statements.FREE_DEAD, {"consumer": number})
                    connection.execute(statements.LEAVE, (number,))

    def on_success(self, messages: Sequence[QueueMessage]) -> int:
        """See `Consumer.on_success`."""
        return self._settle(statements.DELETE, messages)

    def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int:
        """See `Consumer.on_fail`: visible again in their old places, now or after `delay` seconds."""
        late = self._settle(statements.REQUEUE, messages, visible_at=time.time() + delay if delay else None)
        self._file.wake(self.name)
        return late

    def _settle(self, statement: str, messages: Sequence[QueueMessage], **values: Any) -> int:
        """How many of these deliveries were no longer ours; they are left alone."""
        if not messages:
            return 0
        with self._settling.transaction() as connection:
            settled = self._settle_claims(connection, statement, messages, values)
        self._forget(settled)
        return len(messages) - sum(settled.values())

    def _settle_claims(
        self, connection: sqlite3.Connection, statement: str, messages: Iterable[QueueMessage], values: dict[str, Any]
    ) -> dict[int, int]:
        """Claim → how many of its messages were settled. Claims that have no others are ended."""
        settled = {
            claim: connection.execute(statement, {"ids": ids, "claim": claim, **values}).rowcount
            for claim, ids in by_claim(messages)
        }
        ended = [claim for claim, count in settled.items() if count >= self._held.get(claim, 0)]
        connection.execute(statements.END_CLAIMS, (json_list(ended),))
        return settled

    def _forget(self, settled: dict[int, int]) -> None:
        for claim, count in settled.items():
            if left := max(0, self._held.get(claim, 0) - count):
                self._held[claim] = left
            else:
                self._held.pop(claim, None)

    def extend(self, messages: Sequence[QueueMessage]) -> None:
        """See `Consumer.extend`: the lease of a claim covers all of its messages."""
        claims = {claim for claim, _ids in by_claim(messages)} & self._held.keys()
        if not claims:
            return
        named = json_list(claims)
        with self._claiming.transaction() as connection:
            connection.execute(statements.EXTEND, {"lease_ends": time.time() + self.options.lease, "claims": named})
            kept = {claim for (claim,) in connection.execute(statements.WHICH_CLAIMS, (named,))}
        if lost := claims - kept:
            count = sum(self._held.pop(claim, 0) for claim in lost)
            log.warning(
                "queue %s: the leases of %d messages ended before they were extended, so others take them; raise "
                "`lease` (%g s)",
                self.name,
                count,
                self.options.lease,
            )

    def begin_call(self, messages: Sequence[QueueMessage]) -> None:
        """See `Consumer.begin_call`."""
        by_calls: dict[int, list[QueueMessage]] = {}
        for message in messages:
            by_calls.setdefault(message.abandoned or 0, []).append(message)
        with self._settling.transaction() as connection:
            for calls, some in by_calls.items():
                _record_calls(connection, some, calls)

    def end_call(self, messages: Sequence[QueueMessage]) -> None:
        """See `Consumer.end_call`."""
        with self._settling.transaction() as connection:
            _record_calls(connection, messages, 0)

    def lag(self) -> int | None:
        """See `Consumer.lag`; of visible and of delayed messages 100,000 each are counted at most."""
        if not self._settling.is_open:
            return None
        [(waiting,)] = self._settling.read(statements.COUNT_WAITING, {"queue": self.name, "most": MOST_COUNTED})
        return int(waiting)

    def probe(self) -> Sequence[Probed]:
        """See `Consumer.probe`."""
        return probe(self._browsing, self._file.path, self.options)

    def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        """See `Consumer.browse`; a position is a row's id."""
        return browsing.browse(self._browsing, self.name, limit, after)

    def backlog(self) -> Backlog:
        """See `Consumer.backlog`."""
        return browsing.backlog(self._browsing, self.name)

    def transaction_problem(self, producer: BlockingProducer) -> str | None:
        """See `Consumer.transaction_problem`."""
        if not isinstance(producer, SqliteProducer):
            return "it is not a queue in an SQLite file"
        if producer.path != self._file.path:
            return "its `path` leads to another file"
        return None

    def transact(
        self, messages: Sequence[QueueMessage], outputs: Sequence[tuple[BlockingProducer, Sequence[Record]]]
    ) -> Transacted:
        """See `Consumer.transact`: everything is in one file, so one transaction holds it all."""
        refused = [
            Refusal(output, place, problem)
            for output, (_producer, records) in enumerate(outputs)
            for place, problem in enumerate(refusals(records))
            if problem is not None
        ]
        if refused:
            return Transacted(refused=refused)
        try:
            with self._settling.transaction() as connection:
                settled = self._settle_claims(connection, statements.DELETE, messages, {})
                if sum(settled.values()) < len(messages):
                    raise _RolledBack
                for producer, records in outputs:
                    store(connection, producer.name, records, time.time())
        except _RolledBack:
            return Transacted(lost=self._lost(messages))
        self._forget(settled)
        for producer, _records in outputs:
            self._file.wake(producer.name)
        return Transacted()

    def _lost(self, messages: Sequence[QueueMessage]) -> list[QueueMessage]:
        ours = {
            (row, claim)
            for claim, ids in by_claim(messages)
            for (row,) in self._settling.read(statements.STILL_OURS, {"ids": ids, "claim": claim})
        }
        return [each for each in messages if (each.message_context, each.claim) not in ours]  # type: ignore[attr-defined]

    def shutdown(self) -> None:
        """See `Consumer.shutdown`: unsettled messages are visible to others at once."""
        self._file.forget(self.name, self._poller.wake)
        try:
            if self._settling.is_open:
                with self._settling.transaction() as connection:
                    _run(connection, statements.FREE_OWN, {"consumer": self._number})
                    connection.execute(statements.LEAVE, (self._number,))
                self._file.wake(self.name)
        except ConnectorError as error:
            # Nothing is lost: others take the messages as those of a consumer that died.
            log.warning("queue %s: unsettled messages are not requeued in order: %s", self.name, error)
        finally:
            self._file.presence.leave(self._number)
            for database in (self._claiming, self._settling, self._browsing):
                database.close()


class _RolledBack(Exception):
    """Ends a transaction whose work is not wanted."""


def _affordable(connection: sqlite3.Connection, queue: str, limit: int) -> int:
    """How many of the next messages one claim may take: half as many for as long as their bodies are too large."""
    while True:
        count, weight = connection.execute(statements.WEIGH, {"queue": queue, "limit": limit}).fetchone()
        if count <= 1 or weight <= MOST_BYTES:
            return int(count)
        limit = count // 2


def _run(connection: sqlite3.Connection, both: Sequence[str], values: dict[str, Any]) -> None:
    for statement in both:
        connection.execute(statement, values)


def _record_calls(connection: sqlite3.Connection, messages: Sequence[QueueMessage], calls: int) -> None:
    for claim, ids in by_claim(messages):
        connection.execute(statements.RECORD_CALLS, {"ids": ids, "claim": claim, "calls": calls})
