"""One replication connection: what a slot sends is read, and how far it was settled is reported."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from struct import Struct

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import error_from_result

from penstock.errors import NotConnected
from penstock_postgres.errors import ERRORS
from penstock_postgres.pgoutput import Lsn
from penstock_postgres.session import Query, Rows

_REPORT = Struct("!cQQQqB")  # "r", written, flushed, applied, time, whether an answer is wanted
_EPOCH = 946_684_800  # seconds; 2000-01-01

# The text of values depends on these; the answer's digits as well.
_SETTINGS = {
    "wal_sender_timeout": "",
    "timezone": "UTC",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "3",
    "statement_timeout": "0",
    "idle_session_timeout": "0",
}


class Stream:
    """A connection of the replication protocol. All methods raise Penstock's errors.

    Args:
        client: The connection.
        address: Where it leads, for errors.
        silence: Seconds after which the server gives the slot to others if it hears nothing from us.

    Attributes:
        pid: The server's process.
        asked: Since when, by `monotonic`, the server has owed an answer; None if it has answered.
    """

    def __init__(self, client: psycopg.AsyncConnection[tuple[object, ...]], address: str, silence: float) -> None:
        self._client, self._pgconn = client, client.pgconn
        self._address, self._silence = address, silence
        self._reported = time.monotonic()
        self.pid = client.pgconn.backend_pid
        self.asked: float | None = None

    @classmethod
    async def open(cls, conninfo: str, address: str, silence: float) -> Stream:
        """Connect.

        Args:
            conninfo: As for an ordinary session.
            address: For errors.
            silence: See the class.
        """
        parts = conninfo_to_dict(conninfo)
        with ERRORS.translating(address):
            client = await psycopg.AsyncConnection.connect(
                make_conninfo("", **{**parts, "replication": "database"}), autocommit=True, prepare_threshold=None
            )
        stream = cls(client, address, silence)
        settings = {**_SETTINGS, "wal_sender_timeout": f"{round(silence * 1000)}ms"}
        for name, value in settings.items():
            with suppress(psycopg.errors.UndefinedObject):
                await client.execute(sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
        return stream

    async def run(self, command: Query) -> Rows:
        """Run a statement, or a command of the replication protocol; psycopg's own errors are raised as they are."""
        cursor = await self._client.execute(command)
        return await cursor.fetchall() if cursor.description else []

    async def start(self, slot: str, publications: str, *, messages: bool) -> None:
        """Begin to stream where the slot stands.

        Raises:
            psycopg.errors.ObjectInUse: another process has the slot.
        """
        options = sql.SQL("proto_version '1', publication_names {}").format(sql.Literal(f'"{publications}"'))
        if messages:
            options += sql.SQL(", messages 'true'")
        start = sql.SQL("START_REPLICATION SLOT {} LOGICAL 0/0 ({})").format(sql.Identifier(slot), options)
        await self._client.execute(start)
        self._reported = time.monotonic()

    def read(self) -> bytes | None:
        """The next message, if one is there; None if not."""
        try:
            return self._next()
        except Exception:
            with ERRORS.translating(self._address):  # only now: around each read it would cost more than that does
                raise

    def _next(self) -> bytes | None:
        size, data = self._pgconn.get_copy_data(1)
        if size == 0:
            self._pgconn.consume_input()
            size, data = self._pgconn.get_copy_data(1)
        if size > 0:
            self.asked = None
            return bytes(data)
        if size < 0:
            result = self._pgconn.get_result()
            if result is not None and result.error_message:
                raise error_from_result(result)
            raise NotConnected(f"PostgreSQL at {self._address} has ended the replication")
        return None

    @property
    def stood_still(self) -> bool:
        """Whether the server may have given the slot to others, because it heard nothing from us."""
        return time.monotonic() - self._reported > self._silence

    async def wait(self, seconds: float) -> None:
        """Wait for something to read."""
        loop, readable, socket = asyncio.get_running_loop(), asyncio.Event(), self._pgconn.socket
        loop.add_reader(socket, readable.set)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await readable.wait()
        finally:
            loop.remove_reader(socket)

    def report(self, settled: Lsn, *, ask: bool = False) -> None:
        """Tell the server that everything before `settled` is done, and that this worker is alive.

        Args:
            settled: What the slot need not keep.
            ask: The server is to answer with its own position.

        Raises:
            NotConnected: the server is away, or this process stood still for so long that others may have the slot.
        """
        if self.stood_still:
            raise NotConnected(
                f"PostgreSQL at {self._address} has not heard from this worker for {self._silence:g} s, and may have "
                f"given the slot to another one; the process stood still, or raise `session_timeout`"
            )
        now = time.monotonic()
        moment = int((time.time() - _EPOCH) * 1_000_000)
        with ERRORS.translating(self._address):
            self._pgconn.put_copy_data(_REPORT.pack(b"r", settled, settled, settled, moment, ask))
            self._pgconn.flush()
        self._reported = now
        if ask and self.asked is None:
            self.asked = now

    async def close(self) -> None:
        """Close it."""
        await self._client.close()
