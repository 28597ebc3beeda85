"""One session with the server: opened, used, lost, opened again. Its errors are Penstock's."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from penstock.bulk import AdaptiveLimit
from penstock.errors import ConfigError, ConnectorError, FatalConnectorError, NotConnected
from penstock.known_secrets import SecretFilter
from penstock.timeouts import Watchdog
from penstock.turns import Turns
from penstock_postgres.errors import ERRORS
from penstock_postgres.options import ServerOptions

logging.getLogger("psycopg").addFilter(SecretFilter())

Query = sql.SQL | sql.Composed
Parameters = Mapping[str, Any]
Rows = Sequence[tuple[Any, ...]]

_SETTINGS = {
    # Each statement has an index made for it. The statistics of a queue's table are always wrong, because the table was
    # empty or full when they were taken; a plan made from them sorts 300,000 rows in 170 ms instead of 2 ms.
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    # A generic plan estimates LIMIT as a tenth of the table, so compiling (25 ms each time) would seem to pay off.
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    # Under another default of the database or role, a claim fails whenever another consumer claims.
    "default_transaction_isolation": "read committed",
    # Our statements, and the text form of their values, depend on these: NULL in arrays, quoted text, digits of floats,
    # and bytes, dates and intervals in the JSON of a row. A date keeps its order of day and month.
    "array_nulls": "on",
    "standard_conforming_strings": "on",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    # `timeout` limits how long a lock is waited for.
    "lock_timeout": "0",
}

# A row if the session is read only: is the server a standby, and was the setting made for this user, database or dsn?
_READ_ONLY = sql.SQL(
    "SELECT pg_is_in_recovery(), source IN ('user', 'database', 'database user', 'client') "
    "FROM pg_settings WHERE name = 'default_transaction_read_only' "
    "AND current_setting('transaction_read_only') = 'on'"
)

# Defaults for what the DSN leaves out. Keepalives notice a connection that a firewall has dropped before it is needed.
_DEFAULTS: dict[str, str | int] = {
    "application_name": "penstock",
    "keepalives_idle": 60,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}

# What is confirmed must be on the disk, even if the role or database is set otherwise. Stronger levels stay.
DURABLY = sql.SQL(
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)

MAX_CONNECT_TIMEOUT = 30  # seconds, unless the DSN says otherwise
ANSWER_MARGIN = 0.5  # seconds to wait beyond statement_timeout, so that the server can report it
MAX_STATEMENT_RECORDS = 1_000  # more in one statement is not faster, and delays others that wait for the session

log = logging.getLogger("penstock.postgres")


class _RolledBack(Exception):
    """Ends a transaction that must not be committed."""


class Address:
    """Where a DSN leads, for comparison and for messages. It holds no password.

    Attributes:
        server: Host, address, port, database, user and service, as libpq understands them.
    """

    def __init__(self, dsn: str) -> None:
        try:
            known = conninfo_to_dict(dsn)
        except psycopg.ProgrammingError:
            # Raised without a cause: its text quotes the DSN.
            raise ConfigError(
                "'dsn' does not parse; special characters of a password must be percent-encoded in a URL"
            ) from None

        def part(key: str, variable: str, default: str = "") -> str:
            return str(known.get(key) or os.environ.get(variable) or default)

        user = part("user", "PGUSER")
        host, literal, service = part("host", "PGHOST"), part("hostaddr", "PGHOSTADDR"), part("service", "PGSERVICE")
        port, database = part("port", "PGPORT", "" if service else "5432"), part("dbname", "PGDATABASE", user)
        # A service is an entry of a file that only libpq reads; it may set all of the others.
        self.server = (host, literal, port, database, user, service)
        place = host or literal or ("" if service else "local socket")
        self._shown = f"service {service}" if service and not place else f"{place}:{port or 5432}/{database}"

    def __str__(self) -> str:
        return self._shown


def _read_only(address: str, standby: bool, chosen: bool) -> ConnectorError:
    """The error for a session that cannot write: it could never claim a message."""
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


class Session:
    """A session that can be lost and opened again.

    Args:
        options: Where the server is.
        *session_setup: Statements that each new session begins with.

    Attributes:
        address: Where it leads.
        timeout: Seconds to wait for an answer.
        statement_limit: How many records one statement stores.
        lock: Held by a caller whose statements must follow each other.
    """

    def __init__(self, options: ServerOptions, *session_setup: Query) -> None:
        self._dsn = options.dsn.get_secret_value()
        self.timeout = options.timeout
        self._connect_timeout: float | None = None  # None: libpq's connect_timeout, which the DSN may set
        self._session_setup = session_setup
        self._client: psycopg.AsyncConnection[tuple[Any, ...]] | None = None
        self._closed = False
        self._failed = False
        self.address = Address(self._dsn)
        self.statement_limit = AdaptiveLimit(MAX_STATEMENT_RECORDS)
        self.lock = Turns()

    @property
    def is_good(self) -> bool:
        """Whether it is open, and no call has found the server away."""
        return self._client is not None and not self._client.closed and not self._failed

    async def open(self) -> bool:
        """Open the session, or check that it still answers.

        Returns:
            Whether it is a new one.

        Raises:
            NotConnected: the server is away, or cannot be used now.
            FatalConnectorError: it rejects us with these options.
        """
        if await self._answers():
            return False
        await self._drop()
        with self._errors():
            async with asyncio.timeout(self._connect_timeout):
                client = await psycopg.AsyncConnection.connect(self.conninfo(), autocommit=True, prepare_threshold=0)
        await self._drop()  # another caller may have opened one meanwhile
        self._client = client
        try:
            if self._closed:
                raise ConnectorError(f"the connection to PostgreSQL at {self.address} is closed")
            await self._set_up()
        except BaseException:
            await self._drop()  # the next call must not use a session that is only half set up
            raise
        return True

    async def _set_up(self) -> None:
        milliseconds = str(max(1, round(self.timeout * 1000)))
        limits = {"statement_timeout": milliseconds, "idle_in_transaction_session_timeout": milliseconds}
        calls = [
            sql.SQL("set_config({}, {}, false)").format(name, value) for name, value in {**limits, **_SETTINGS}.items()
        ]
        await self.run(sql.SQL("SELECT {}").format(sql.SQL(", ").join(calls)))
        for standby, chosen in await self.run(_READ_ONLY):
            raise _read_only(str(self.address), standby, chosen)
        for statement in self._session_setup:
            await self.run(statement)

    async def _answers(self) -> bool:
        # A session that has failed is left even if it still answers: another server may be the primary by now.
        if self._client is None or not self.is_good:
            return False
        if self._client.lock.locked():
            return True  # another call is using it, and will notice if it is lost
        try:
            await self.run(sql.SQL("SELECT 1"))
        except NotConnected:
            return False
        return True

    def conninfo(self) -> str:
        """Where and how a session connects, as libpq takes it. It holds the password."""
        # A statement may have an hour, but connecting never takes that long.
        connect_timeout = min(max(2, round(self.timeout)), MAX_CONNECT_TIMEOUT)
        defaults = make_conninfo("", **_DEFAULTS, connect_timeout=connect_timeout)
        # We send and read UTF-8, whatever the database's encoding and PGCLIENTENCODING are.
        return make_conninfo(defaults, **{**conninfo_to_dict(self._dsn), "client_encoding": "utf8"})

    async def run(self, query: Query, parameters: Parameters | None = None) -> Rows:
        """Run a statement.

        Returns:
            Its rows; [] if it has none.

        Raises:
            NotConnected: the server is away, or does not answer; the statement may have run.
            FatalConnectorError, ConnectorError: it rejects the statement; see `errors.ERRORS`.
        """
        with self._errors():
            cursor = await self.execute(query, parameters)
            return await cursor.fetchall() if cursor.description else []

    async def execute(self, query: Query, parameters: Parameters | None = None) -> psycopg.AsyncCursor[tuple[Any, ...]]:
        """Run a statement within `timeout`; psycopg's own errors are raised as they are."""
        client = self._open_client()
        cursor = client.cursor(binary=True)
        with self._watchdog(client):
            return await cursor.execute(query, parameters)

    async def notified(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for a notification, and return whether one came. Earlier ones count."""
        client = self._open_client()
        came = False
        with self._errors():
            async for _notification in client.notifies(timeout=timeout, stop_after=1):
                came = True
        return came

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Make the block a transaction, or a savepoint inside one; an exception rolls it back.

        Raises:
            NotConnected: the server went away; if that was at the commit, it may have been committed.
        """
        client = self._open_client()
        transaction = client.transaction()
        with self._errors():
            # Begun and ended by hand, so that each step has its own `timeout`.
            with self._watchdog(client):
                await transaction.__aenter__()
            try:
                yield
            except BaseException as error:
                with self._watchdog(client):
                    await transaction.__aexit__(type(error), error, error.__traceback__)
                raise
            with self._watchdog(client):
                await transaction.__aexit__(None, None, None)

    @asynccontextmanager
    async def dry_run(self) -> AsyncIterator[None]:
        """Like `transaction`, but always rolled back."""
        try:
            async with self.transaction():
                yield
                raise _RolledBack
        except _RolledBack:
            return

    def _open_client(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        if self._client is None or self._client.closed:
            if self._closed:
                raise ConnectorError(f"the connection to PostgreSQL at {self.address} is closed")
            raise NotConnected(f"there is no connection to PostgreSQL at {self.address}")
        return self._client

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (psycopg.Error, OSError) as error:
            ours = ERRORS.translate(error, str(self.address))
            self._failed = self._failed or isinstance(ours, NotConnected)
            raise ours from error

    def _watchdog(self, client: psycopg.AsyncConnection[Any]) -> AbstractContextManager[object]:
        """Cut the connection if the block takes longer than `timeout`: the server, or the way to it, is gone."""
        return Watchdog(self.timeout + ANSWER_MARGIN, lambda: self._give_up(client), ANSWER_MARGIN)

    def _give_up(self, client: psycopg.AsyncConnection[Any]) -> None:
        if client.closed or client is not self._client:
            return
        log.warning("PostgreSQL at %s does not answer; the connection is cut", self.address)
        self.cut()

    def cut(self) -> None:
        """End the session now; a call that waits for an answer raises `NotConnected`."""
        client = self._client
        if client is None or client.closed:
            return
        # Shut down, not closed: psycopg waits on this socket and must see its end.
        with socket.socket(fileno=os.dup(client.fileno())) as same:
            try:
                same.shutdown(socket.SHUT_RDWR)
            except OSError as error:
                log.debug("PostgreSQL at %s: the connection had ended already: %s", self.address, error)

    def limit_timeout(self, seconds: float) -> None:
        """From now on wait at most `seconds` for an answer, or for a connection."""
        self.timeout = min(self.timeout, seconds)
        self._connect_timeout = seconds

    async def suspend(self) -> None:
        """Close the session until the next `open`."""
        await self._drop()

    async def close(self) -> None:
        """Close the session for good."""
        self._closed = True
        await self._drop()

    async def _drop(self) -> None:
        client, self._client, self._failed = self._client, None, False
        if client is not None:
            await client.close()
