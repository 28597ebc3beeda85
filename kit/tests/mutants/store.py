"""A broker in a file: queues, groups, leases and tokens, by SQLite. Processes share it, and a kill loses nothing."""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
import weakref
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from penstock.connectors import Backlog
from penstock.message import BrowsedMessage, QueueMessage, Record

SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT, key BLOB, headers TEXT, body BLOB, at REAL, due REAL);
CREATE INDEX IF NOT EXISTS of_queue ON messages (queue, id);
CREATE TABLE IF NOT EXISTS deliveries (
    grp TEXT, id INTEGER, token TEXT, until REAL, attempts INTEGER, settled INTEGER DEFAULT 0, calls INTEGER,
    PRIMARY KEY (grp, id));
"""

# Neither settled nor held by a consumer.
FREE = """
FROM messages m LEFT JOIN deliveries d ON d.id = m.id AND d.grp = :grp
WHERE m.queue = :queue AND (d.id IS NULL OR (d.settled = 0 AND d.until <= :now))
"""


BROWSE = """
SELECT m.id, m.body, m.key, m.headers, m.at, coalesce(d.attempts, 0), CASE
    WHEN d.settled THEN 'kept'
    WHEN d.until > :now AND d.token != '' THEN 'leased'
    WHEN d.until > :now OR m.due > :now THEN 'delayed'
    ELSE 'waiting' END
FROM messages m LEFT JOIN deliveries d ON d.id = m.id AND d.grp = :grp
WHERE m.queue = :queue AND m.id > :after ORDER BY m.id LIMIT :limit
"""


class Store:
    """One connection to the file, for one group of one queue.

    Attributes:
        order: In which messages are handed out.
        condition: What else they must fulfil.
    """

    order = "m.id"
    condition = ""

    def __init__(self, path: str, queue: str, group: str) -> None:
        self.queue = queue
        self.group = group
        # Durable against a kill of a process, which is all that happens here.
        self._db = sqlite3.connect(path, isolation_level=None, timeout=10, check_same_thread=False)
        # A mutant that forgets to shut down leaves it open, which Python 3.13 warns of.
        weakref.finalize(self, self._db.close)
        for pragma in ("journal_mode=WAL", "synchronous=OFF"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        self._db.close()

    def add(self, records: Sequence[Record]) -> None:
        """Store records, all or none."""
        with self._transaction() as db:
            _insert(db, self.queue, records)

    def settle_and_add(
        self, messages: Sequence[QueueMessage], outputs: Sequence[tuple[str, Sequence[Record]]]
    ) -> list[QueueMessage]:
        """Settle messages and store records by queue, all or nothing; returns those that were not ours."""
        with self._transaction() as db:
            lost = [message for message in messages if not self._change(db, "settled = 1", message)]
            if lost:
                db.rollback()
                return lost
            for queue, records in outputs:
                _insert(db, queue, records)
        return lost

    def take(self, most: int, lease: float, numbers: Sequence[int] | None = None) -> list[QueueMessage]:
        """Lease the oldest messages that are free and due, of these numbers or of all, each with one attempt more."""
        chosen = "" if numbers is None else f"AND m.id IN ({','.join(map(str, numbers))})"
        now = time.time()
        token = secrets.token_hex(8)
        known = {"grp": self.group, "queue": self.queue, "now": now, "most": most}
        with self._transaction() as db:
            rows = db.execute(
                "SELECT m.id, m.body, m.key, m.headers, m.at, coalesce(d.attempts, 0) + 1, "
                "coalesce(d.calls, 0), coalesce(d.token, '') != '' "
                + FREE
                + f"AND m.due <= :now {self.condition} {chosen} ORDER BY {self.order} LIMIT :most",
                known,
            ).fetchall()
            db.executemany(
                "INSERT OR REPLACE INTO deliveries (grp, id, token, until, attempts, calls) VALUES (?, ?, ?, ?, ?, ?)",
                [(self.group, row[0], token, now + lease, row[5], row[6]) for row in rows],
            )
        return [
            QueueMessage(
                (number, token),
                body,
                key,
                _headers(headers),
                at,
                attempts,
                str(number),
                calls + 1 if left or calls else 0,
            )
            for number, body, key, headers, at, attempts, calls, left in rows
        ]

    def settle(self, messages: Sequence[QueueMessage]) -> int:
        """For good; returns how many were still ours."""
        return self._update("settled = 1", messages)

    def requeue(self, messages: Sequence[QueueMessage], delay: float) -> int:
        """Free after `delay` seconds, in their old places."""
        return self._update("token = '', until = :value", messages, time.time() + delay if delay else 0.0)

    def extend(self, messages: Sequence[QueueMessage], lease: float) -> int:
        """Ours for another full span from now."""
        return self._update("until = :value", messages, time.time() + lease)

    def record(self, messages: Sequence[QueueMessage], calls: Sequence[int]) -> None:
        """How many calls of each began and did not end."""
        with self._transaction() as db:
            for message, number in zip(messages, calls, strict=True):
                self._change(db, "calls = :value", message, number)

    def lag(self) -> int:
        """Messages that no consumer holds."""
        # What was requeued with a delay has no token: no consumer holds it, though it is not due.
        free = FREE.replace("d.until <= :now", "(d.until <= :now OR d.token = '')")
        known = {"grp": self.group, "queue": self.queue, "now": time.time()}
        count: int = self._db.execute("SELECT count(*) " + free, known).fetchone()[0]
        return count

    def browse(self, limit: int, after: int) -> list[BrowsedMessage]:
        """Messages with a number above `after`, as they are."""
        known = {"grp": self.group, "queue": self.queue, "now": time.time(), "limit": limit, "after": after}
        return [
            BrowsedMessage(
                body, str(number), key=key, headers=_headers(headers), timestamp=at, attempts=attempts, state=state
            )
            for number, body, key, headers, at, attempts, state in self._db.execute(BROWSE, known)
        ]

    def backlog(self) -> Backlog:
        """How many messages are in each state, and since when the oldest waits."""
        found = [message for message in self.browse(1_000_000, 0) if message.state != "kept"]
        states = Counter(message.state for message in found)
        oldest = min((each.timestamp or 0.0 for each in found if each.state == "waiting"), default=None)
        return Backlog(states["waiting"], states["leased"], states["delayed"], oldest)

    def move(self, to: str | datetime) -> None:
        """All messages before a place are settled for this group, and none behind it."""
        if isinstance(to, datetime):
            before, place = "m.at < :place", to.timestamp()
        else:
            before, place = {"beginning": "0", "end": "1"}.get(to, "m.id < :place"), to
        with self._transaction() as db:
            db.execute(
                "DELETE FROM deliveries WHERE grp = ? AND id IN (SELECT id FROM messages WHERE queue = ?)",
                (self.group, self.queue),
            )
            db.execute(
                "INSERT INTO deliveries (grp, id, token, until, attempts, settled, calls) "
                f"SELECT :grp, m.id, '', 0, 1, 1, 0 FROM messages m WHERE m.queue = :queue AND {before}",
                {"grp": self.group, "queue": self.queue, "place": place},
            )

    def claimable(self) -> int:
        """Messages that `take` would find now."""
        known = {"grp": self.group, "queue": self.queue, "now": time.time()}
        count: int = self._db.execute("SELECT count(*) " + FREE + "AND m.due <= :now", known).fetchone()[0]
        return count

    def _update(self, change: str, messages: Sequence[QueueMessage], value: float = 0.0) -> int:
        with self._transaction() as db:
            return sum(self._change(db, change, message, value) for message in messages)

    def _change(self, db: sqlite3.Connection, change: str, message: QueueMessage, value: float = 0.0) -> int:
        number, token = message.message_context
        return db.execute(
            f"UPDATE deliveries SET {change} "
            "WHERE grp = :grp AND id = :id AND token = :token AND settled = 0 AND until > :now",
            {"grp": self.group, "id": number, "token": token, "now": time.time(), "value": value},
        ).rowcount

    def _transaction(self) -> Any:
        self._db.execute("BEGIN IMMEDIATE")
        return self._db


def _headers(text: str) -> list[tuple[str, bytes]]:
    return [(name, bytes.fromhex(value)) for name, value in json.loads(text)]


def _insert(db: sqlite3.Connection, queue: str, records: Sequence[Record]) -> None:
    now = time.time()
    rows = [
        (queue, r.key, json.dumps([(n, v.hex()) for n, v in r.headers]), r.message, now, now + r.delay) for r in records
    ]
    db.executemany("INSERT INTO messages (queue, key, headers, body, at, due) VALUES (?, ?, ?, ?, ?, ?)", rows)
