"""One session with the server: opened, used, lost, opened again. Errors leave it as Penstock's."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from penstock.errors import ConfigError, ConnectorError, NotConnected
from penstock_postgres.errors import as_connector_error
from penstock_postgres.options import ServerOptions

Query = sql.SQL | sql.Composed
Parameters = Mapping[str, Any]
Rows = Sequence[tuple[Any, ...]]

# The statistics of a queue's table are always wrong: it was empty when they were taken, or full. Every statement here
# has an index made for it, and a plan made from stale statistics that sorts 300,000 rows instead takes 170 ms, not 2.
_PLANS = ("SET enable_seqscan = off", "SET enable_bitmapscan = off", "SET plan_cache_mode = force_generic_plan")

log = logging.getLogger("penstock.postgres")


class Address:
    """Where a DSN leads, for comparisons and for people; without the password.

    Attributes:
        server: Host, port, database and user, as libpq understands them.
    """

    def __init__(self, dsn: str) -> None:
        try:
            known = conninfo_to_dict(dsn)
        except psycopg.ProgrammingError:
            # Its text quotes the DSN.
            raise ConfigError(
                "'dsn' does not parse; special characters of a password must be percent-encoded in a URL"
            ) from None

        def part(key: str, variable: str, default: str) -> str:
            return str(known.get(key) or os.environ.get(variable) or default)

        user = part("user", "PGUSER", "")
        host = known.get("host") or known.get("hostaddr") or os.environ.get("PGHOST") or "local socket"
        self.server = (str(host), part("port", "PGPORT", "5432"), part("dbname", "PGDATABASE", user), user)

    def __str__(self) -> str:
        host, port, database, _user = self.server
        return f"{host}:{port}/{database}"


class Connection:
    """A session that can be lost and opened again.

    Args:
        options: Where the server is.
        *settings: Statements that prepare each new session, beside our own.

    Attributes:
        address: Where it leads.
        lock: Held by whoever needs several statements to be one after the other.
    """

    def __init__(self, options: ServerOptions, *settings: str) -> None:
        self._dsn = options.dsn.get_secret_value()
        self._timeout = options.timeout
        self._settings = settings
        self._session: psycopg.AsyncConnection[tuple[Any, ...]] | None = None
        self._closed = False
        self._suspect = False
        self.address = Address(self._dsn)
        self.lock = asyncio.Lock()

    async def open(self) -> bool:
        """Open the session, or see that it is still there.

        Returns:
            Whether it is a new one: what LISTEN and SET said to an old one is gone.

        Raises:
            NotConnected: not now.
            FatalConnectorError: not with these options.
        """
        if await self._is_good():
            return False
        await self._drop()
        with self._errors():
            self._session = await psycopg.AsyncConnection.connect(
                self._conninfo(), autocommit=True, prepare_threshold=0
            )
        milliseconds = int(self._timeout * 1000)
        for statement in (
            f"SET statement_timeout = {milliseconds}",
            f"SET idle_in_transaction_session_timeout = {milliseconds}",
            *_PLANS,
            *self._settings,
        ):
            await self.run(sql.SQL(statement))
        return True

    async def _is_good(self) -> bool:
        # One that answered "not now" is left, even if it still answers: another server may be the primary meanwhile.
        if self._session is None or self._session.closed or self._suspect:
            return False
        if self._session.lock.locked():
            return True  # somebody is using it, and will say so when it is gone
        try:
            await self.run(sql.SQL("SELECT 1"))
        except NotConnected:
            return False
        return True

    def _conninfo(self) -> str:
        defaults = make_conninfo("", application_name="penstock", connect_timeout=max(2, round(self._timeout)))
        return make_conninfo(defaults, **conninfo_to_dict(self._dsn))

    async def run(self, query: Query, parameters: Parameters | None = None) -> Rows:
        """Run a statement.

        Returns:
            Its rows; [] if it has none.

        Raises:
            NotConnected: the server is away, or does not answer: the statement may have run.
            FatalConnectorError, ConnectorError: it refuses; see `errors.as_connector_error`.
        """
        with self._errors():
            cursor = await self.execute(query, parameters)
            return await cursor.fetchall() if cursor.description else []

    async def count(self, query: Query, parameters: Parameters) -> int:
        """Run a statement; how many rows it touched. Raises as `run` does."""
        with self._errors():
            return (await self.execute(query, parameters)).rowcount

    async def execute(self, query: Query, parameters: Parameters | None = None) -> psycopg.AsyncCursor[tuple[Any, ...]]:
        """Run a statement and let psycopg's own errors through, within the time that is set."""
        session = self._open_session()
        cursor = session.cursor(binary=True)
        with self._watched(session, self._timeout):
            return await cursor.execute(query, parameters)

    async def notified(self, timeout: float) -> bool:
        """Wait for a notification, `timeout` seconds at most; whether one came. Older ones count."""
        session = self._open_session()
        came = False
        with self._errors():
            async for _notification in session.notifies(timeout=timeout, stop_after=1):
                came = True
        return came

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """A transaction around the block, a savepoint inside one; an exception rolls it back.

        Raises:
            NotConnected: the server went away; if that was at its end, it may have been committed.
        """
        session = self._open_session()
        with self._errors(), self._watched(session, 2 * self._timeout):
            async with session.transaction():
                yield

    def _open_session(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        if self._session is None or self._session.closed:
            if self._closed:
                raise ConnectorError(f"the connection to PostgreSQL at {self.address} is closed")
            raise NotConnected(f"there is no connection to PostgreSQL at {self.address}")
        return self._session

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (psycopg.Error, OSError) as error:
            ours = as_connector_error(error, str(self.address))
            self._suspect = self._suspect or isinstance(ours, NotConnected)
            raise ours from error

    @contextmanager
    def _watched(self, session: psycopg.AsyncConnection[Any], seconds: float) -> Iterator[None]:
        """Cut the connection when the block takes longer: the server, or the way to it, is gone."""
        # Cheaper than a task and a cancellation, after which psycopg would talk to a server that does not answer.
        timer = asyncio.get_running_loop().call_later(seconds, self._cut, session)
        try:
            yield
        finally:
            timer.cancel()

    def _cut(self, session: psycopg.AsyncConnection[Any]) -> None:
        if session.closed:
            return
        log.warning("PostgreSQL at %s does not answer; the connection is cut", self.address)
        # Not closed: psycopg is waiting on it, and shall see its end.
        with socket.socket(fileno=os.dup(session.fileno())) as same:
            try:
                same.shutdown(socket.SHUT_RDWR)
            except OSError as error:
                log.debug("already gone: %s", error)

    async def close(self) -> None:
        """Close the session for good."""
        self._closed = True
        await self._drop()

    async def _drop(self) -> None:
        session, self._session, self._suspect = self._session, None, False
        if session is not None:
            await session.close()
