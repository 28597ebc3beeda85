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

from penstock.errors import ConfigError, ConnectorError, FatalConnectorError, NotConnected
from penstock.known_secrets import SecretFilter
from penstock.timeouts import Watchdog
from penstock.turns import Turns
from penstock_postgres.errors import as_connector_error
from penstock_postgres.options import ServerOptions
from penstock_postgres.parts import Portion

logging.getLogger("psycopg").addFilter(SecretFilter())

Query = sql.SQL | sql.Composed
Parameters = Mapping[str, Any]
Rows = Sequence[tuple[Any, ...]]

_SETTINGS = {
    # The statistics of a queue's table are always wrong: it was empty when they were taken, or full. Every statement
    # here has an index made for it, and a plan made from stale statistics that sorts 300,000 rows instead takes 170 ms,
    # not 2. A generic plan takes LIMIT for a tenth of the table: then a merge that reads all of it looks cheap, and
    # compiling (25 ms each time) looks worth while.
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    # A database or a role may have another default, under which a claim fails whenever somebody else claims.
    "default_transaction_isolation": "read committed",
    # The same goes for what our statements and the text of their values mean: a NULL in an array, a quoted text, the
    # digits of a float, bytes, dates and intervals in the JSON of a row. A date keeps its order of day and month.
    "array_nulls": "on",
    "standard_conforming_strings": "on",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    # Ours is `timeout`.
    "lock_timeout": "0",
}

# Whether the session can write, and if not, whether that is said for its user or database, or is the server's state.
_READ_ONLY = sql.SQL(
    "SELECT pg_is_in_recovery(), source IN ('user', 'database', 'database user', 'client') "
    "FROM pg_settings WHERE name = 'default_transaction_read_only' "
    "AND current_setting('transaction_read_only') = 'on'"
)

# What libpq does by itself where the DSN does not say otherwise: a connection that a firewall has forgotten is noticed
# before it is needed.
_DEFAULTS: dict[str, str | int] = {
    "application_name": "penstock",
    "keepalives_idle": 60,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}

# What is confirmed shall be on the disk, though a role or a database may not care. Stronger levels stay as they are.
DURABLY = sql.SQL(
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)

LONGEST_TO_CONNECT = 30  # seconds, unless the DSN says otherwise
GRACE = 0.5  # seconds for which we wait longer than the server, so that it can say that a statement took too long

log = logging.getLogger("penstock.postgres")


class _RolledBack(Exception):
    """Ends a transaction whose work is not wanted."""


class Address:
    """Where a DSN leads, for comparisons and for people; without the password.

    Attributes:
        server: Host, address, port, database, user and service, as libpq understands them.
    """

    def __init__(self, dsn: str) -> None:
        try:
            known = conninfo_to_dict(dsn)
        except psycopg.ProgrammingError:
            # Its text quotes the DSN.
            raise ConfigError(
                "'dsn' does not parse; special characters of a password must be percent-encoded in a URL"
            ) from None

        def part(key: str, variable: str, default: str = "") -> str:
            return str(known.get(key) or os.environ.get(variable) or default)

        user = part("user", "PGUSER")
        host, literal, service = part("host", "PGHOST"), part("hostaddr", "PGHOSTADDR"), part("service", "PGSERVICE")
        port, database = part("port", "PGPORT", "" if service else "5432"), part("dbname", "PGDATABASE", user)
        # A service is an entry of a file that only libpq reads: it may name all of the others.
        self.server = (host, literal, port, database, user, service)
        place = host or literal or ("" if service else "local socket")
        self._shown = f"service {service}" if service and not place else f"{place}:{port or 5432}/{database}"

    def __str__(self) -> str:
        return self._shown


def _read_only(address: str, standby: bool, chosen: bool) -> ConnectorError:
    """Why a session that cannot write is of no use: it would consume nothing, and never say that it cannot."""
    if standby:
        return NotConnected(
            f"PostgreSQL at {address} is a standby, which is read only; name the primary in `dsn`, or all of them with "
            "`target_session_attrs=read-write`"
        )
    if chosen:
        return FatalConnectorError(
            f"PostgreSQL at {address}: default_transaction_read_only is on for this user, database or dsn, and a queue "
            "has to be written; turn it off for them (ALTER ROLE … RESET default_transaction_read_only)"
        )
    return NotConnected(f"PostgreSQL at {address} is read only (default_transaction_read_only in its configuration)")


class Connection:
    """A session that can be lost and opened again.

    Args:
        options: Where the server is.
        *greetings: Statements that each new session begins with.

    Attributes:
        address: Where it leads.
        timeout: Seconds for which an answer is waited for.
        portion: How many records a statement carries over it.
        lock: Held by whoever needs several statements to be one after the other.
        good: There is a session, and nothing bad is known of it.
    """

    def __init__(self, options: ServerOptions, *greetings: Query) -> None:
        self._dsn = options.dsn.get_secret_value()
        self.timeout = options.timeout
        self._connect_within: float | None = None  # else libpq's connect_timeout, which the DSN may set
        self._greetings = greetings
        self._session: psycopg.AsyncConnection[tuple[Any, ...]] | None = None
        self._closed = False
        self._suspect = False
        self.address = Address(self._dsn)
        self.portion = Portion()
        self.lock = Turns()

    @property
    def good(self) -> bool:
        return self._session is not None and not self._session.closed and not self._suspect

    async def open(self) -> bool:
        """Open the session, or see that it is still there.

        Returns:
            Whether it is a new one.

        Raises:
            NotConnected: not now.
            FatalConnectorError: not with these options.
        """
        if await self._is_good():
            return False
        await self._drop()
        with self._errors():
            async with asyncio.timeout(self._connect_within):
                session = await psycopg.AsyncConnection.connect(self._conninfo(), autocommit=True, prepare_threshold=0)
        await self._drop()  # another caller may have opened one meanwhile
        self._session = session
        try:
            if self._closed:
                raise ConnectorError(f"the connection to PostgreSQL at {self.address} is closed")
            await self._greet()
        except BaseException:
            await self._drop()  # half prepared it is of no use, and the next call would take it for good
            raise
        return True

    async def _greet(self) -> None:
        milliseconds = str(max(1, round(self.timeout * 1000)))
        limits = {"statement_timeout": milliseconds, "idle_in_transaction_session_timeout": milliseconds}
        calls = [
            sql.SQL("set_config({}, {}, false)").format(name, value) for name, value in {**limits, **_SETTINGS}.items()
        ]
        await self.run(sql.SQL("SELECT {}").format(sql.SQL(", ").join(calls)))
        for standby, chosen in await self.run(_READ_ONLY):
            raise _read_only(str(self.address), standby, chosen)
        for greeting in self._greetings:
            await self.run(greeting)

    async def _is_good(self) -> bool:
        # One that answered "not now" is left, even if it still answers: another server may be the primary meanwhile.
        if self._session is None or not self.good:
            return False
        if self._session.lock.locked():
            return True  # somebody is using it, and will say so when it is gone
        try:
            await self.run(sql.SQL("SELECT 1"))
        except NotConnected:
            return False
        return True

    def _conninfo(self) -> str:
        # A statement may be given an hour; to connect takes no longer than usual for that.
        patience = min(max(2, round(self.timeout)), LONGEST_TO_CONNECT)
        defaults = make_conninfo("", **_DEFAULTS, connect_timeout=patience)
        # Whatever the database's own encoding is, and PGCLIENTENCODING: what we send and understand is UTF-8.
        return make_conninfo(defaults, **{**conninfo_to_dict(self._dsn), "client_encoding": "utf8"})

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

    async def execute(self, query: Query, parameters: Parameters | None = None) -> psycopg.AsyncCursor[tuple[Any, ...]]:
        """Run a statement and let psycopg's own errors through, within the time that is set."""
        session = self._open_session()
        cursor = session.cursor(binary=True)
        with self._watched(session):
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
        transaction = session.transaction()
        with self._errors():
            # Begun and ended by hand, for each step has its own time, however many there are.
            with self._watched(session):
                await transaction.__aenter__()
            try:
                yield
            except BaseException as error:
                with self._watched(session):
                    await transaction.__aexit__(type(error), error, error.__traceback__)
                raise
            with self._watched(session):
                await transaction.__aexit__(None, None, None)

    @asynccontextmanager
    async def rehearsal(self) -> AsyncIterator[None]:
        """A transaction like `transaction`, of which nothing stays."""
        try:
            async with self.transaction():
                yield
                raise _RolledBack
        except _RolledBack:
            return

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

    def _watched(self, session: psycopg.AsyncConnection[Any]) -> Watchdog:
        """Cut the connection when the block takes longer than `timeout`: the server, or the way to it, is gone."""
        return Watchdog(self.timeout + GRACE, lambda: self._give_up(session), GRACE)

    def _give_up(self, session: psycopg.AsyncConnection[Any]) -> None:
        if session.closed or session is not self._session:
            return
        log.warning("PostgreSQL at %s does not answer; the connection is cut", self.address)
        self.cut()

    def cut(self) -> None:
        """End the session; whoever waits for an answer gets `NotConnected`."""
        session = self._session
        if session is None or session.closed:
            return
        # Not closed: psycopg is waiting on it, and shall see its end.
        with socket.socket(fileno=os.dup(session.fileno())) as same:
            try:
                same.shutdown(socket.SHUT_RDWR)
            except OSError as error:
                log.debug("already gone: %s", error)

    def hurry(self, seconds: float) -> None:
        """From now on wait no longer than this for an answer."""
        self.timeout = min(self.timeout, seconds)
        self._connect_within = seconds

    async def rest(self) -> None:
        """Close the session until the next `open`."""
        await self._drop()

    async def close(self) -> None:
        """Close the session for good."""
        self._closed = True
        await self._drop()

    async def _drop(self) -> None:
        session, self._session, self._suspect = self._session, None, False
        if session is not None:
            await session.close()
