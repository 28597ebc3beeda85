"""Rows of a table, in the order of the transactions that wrote them, for a role that may not replicate.

A number or a time in a row is taken before its transaction commits, so a reader that goes by it passes over what
commits late. Here each row has the id of its transaction (`xid8 DEFAULT pg_current_xact_id()`), and only rows below the
oldest transaction that is still open are read: nothing can be written below them any more.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Sequence
from time import monotonic
from typing import Any

from psycopg import sql

from penstock.errors import ConnectorError
from penstock_postgres.log_reader import LogReader
from penstock_postgres.names import index, quoted
from penstock_postgres.options import PollOptions
from penstock_postgres.pgoutput import Sent, change_headers
from penstock_postgres.schema import one_by_one
from penstock_postgres.session import DURABLY, Rows, Session
from penstock_postgres.statements import statement

Mark = tuple[str, str]  # a row's transaction, and its key as a JSON array
START: Mark = ("", "")  # before the first row
MAX_ROWS = 1_000  # read at once
MAX_LAG = 100_000  # rows that `lag` counts
STAND_BY = 1.0  # seconds between two attempts to get a lock that another worker has
SHUTDOWN_ANSWER = 2.0  # seconds

log = logging.getLogger("penstock.postgres")


class PollConsumer(LogReader[Mark]):
    """Reads the table that `value` names. How far it is settled stands in a table of marks, by table and `reader`.

    One worker of a reader has its lock, which ends with the session that also stores the mark: so a worker that lost
    the lock cannot move the mark. The others stand by.
    """

    options: PollOptions

    def __init__(self, name: str, options: PollOptions) -> None:
        super().__init__(name, options)
        self._session = Session(options, DURABLY, sql.SQL("SET timezone = 'UTC'"))
        self.server = f"PostgreSQL at {self._session.address}"
        self._table = f"{options.schema_name}.{name}"
        self._reader = {"table": self._table, "reader": options.reader}
        whole = "\0".join((self._table, options.reader, options.marks)).encode()
        self._lock = int.from_bytes(hashlib.sha256(whole).digest()[:8], "big", signed=True)
        self._names = _names(name, options)
        self._reads = False
        self._stored: Mark | None = None  # None: not known, or another worker may have moved it
        self._read_to = START
        self._look_at = 0.0

    async def connect(self) -> None:
        """See `Consumer.connect`. What is in flight can still be settled, unless another worker has moved the mark."""
        async with self._session.lock.first():
            if await self._session.open():
                self._reads = False
                await self._prepare()
            if not self._reads:
                await self._take_over()

    async def _prepare(self) -> None:
        if self.options.create:
            async with one_by_one(self._session):  # IF NOT EXISTS fails where two run at once
                for path in ("poll/marks", "poll/adopt", "poll/index"):
                    await self._session.run(statement(path, self._names), {})
        try:
            await self._select("poll/page", START, 0)
        except ConnectorError as error:
            raise type(error)(
                f"{error}. The connector postgres.poll needs a column {self.options.xid!r} of type xid8 with DEFAULT "
                f"pg_current_xact_id(), and an index of it and `id`; set `create: true` to add them"
            ) from error

    async def _take_over(self) -> None:
        [[self._reads]] = await self._session.run(sql.SQL("SELECT pg_try_advisory_lock({})").format(self._lock))
        if not self._reads:
            if self._look_at == 0.0:
                log.info("%s: another worker reads %s; this one stands by", self.server, self._table)
                self._end()
                self._stored = None
            self._look_at = monotonic() + STAND_BY
            return
        rows = await self._session.run(statement("poll/mark", self._names), self._reader)
        mark: Mark = (rows[0][0], rows[0][1]) if rows else START
        if mark != self._stored:
            self._begin()
            self._stored = self._read_to = mark
        self._look_at = 0.0

    async def _select(self, path: str, after: Mark, limit: int) -> Rows:
        xid, key = after
        values = json.loads(key, parse_int=str, parse_float=str) if key else []
        parameters = {f"key{number}": value for number, value in enumerate(values)}
        behind: sql.Composable = sql.SQL("true")
        if values:
            row = sql.SQL(", ").join(map(sql.Placeholder, parameters))
            behind = sql.SQL("({xid}, {key}) > (%(xid)s::xid8, {row})").format(**self._names, row=row)
        query = statement(path, {**self._names, "after": behind})
        return await self._session.run(query, {**parameters, "xid": xid, "limit": limit})

    async def _fetch(self, most: int) -> Sequence[Sent]:
        async with self._session.lock:
            if not self._reads:
                if monotonic() >= self._look_at:
                    await self._take_over()
                if not self._reads:
                    return []
            rows = await self._select("poll/page", self._read_to, min(most, MAX_ROWS))
        for number, (xid, place, *_row) in enumerate(rows, start=1):
            self._mark((xid, place), number)
            self._read_to = (xid, place)
        return [self._message(*row) for row in rows]

    def _message(self, xid: str, place: str, key: str, row: str, body: Any) -> Sent:
        if self.options.body is None:
            body = (
                f'{{"operation":"upsert","table":{json.dumps(self._table)},"key":{key},"row":{row},"old":null,'
                f'"unchanged":[],"lsn":null,"xid":{xid},"committed_at":null}}'
            )
        written = body if body is None or isinstance(body, bytes) else _text(body).encode()
        return Sent(f"{xid}/{place}", written, key.encode(), change_headers("upsert", self._table, None, xid), None)

    async def _wait(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, self.options.poll_interval))

    async def _store(self) -> None:
        async with self._session.lock.first():
            settled = self._settled()
            if settled is not None and self._reads:
                mark = dict(zip(("xid", "key"), settled, strict=True))
                await self._session.run(statement("poll/store", self._names), {**self._reader, **mark})
                self._stored = settled

    async def lag(self) -> int | None:
        """Rows that were not read yet, and what waits to be delivered again; at most 100,000 are counted."""
        async with self._session.lock:
            if not self._reads:
                return None
            [[waiting]] = await self._select("poll/lag", self._read_to, MAX_LAG)
        return int(waiting) + len(self._redelivery)

    async def shutdown(self) -> None:
        """See `Consumer.shutdown`. What is not settled comes again, to the next reader."""
        self._session.limit_timeout(SHUTDOWN_ANSWER)
        self._end()
        await self._session.close()


def _names(name: str, options: PollOptions) -> dict[str, sql.Composable]:
    key = [quoted("r", column) for column in options.id]
    pairs = [part for column, shown in zip(options.id, key, strict=True) for part in (_literal(column), shown)]
    return {
        "table": quoted(options.schema_name, name),
        "marks": quoted(options.schema_name, options.marks),
        "column": quoted(options.xid),
        "columns": sql.SQL(", ").join(map(quoted, options.id)),
        "index": quoted(index(name, "poll")),
        "xid": quoted("r", options.xid),
        "name": _literal(options.xid),
        "key": sql.SQL(", ").join(key),
        "pairs": sql.SQL(", ").join(pairs),
        "body": sql.NULL if options.body is None else quoted("r", options.body),
    }


def _literal(text: str) -> sql.SQL:
    return sql.SQL(sql.Literal(text).as_string().replace("%", "%%"))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
