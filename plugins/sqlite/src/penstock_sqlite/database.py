"""One connection to the file, for transactions that happen as a whole."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from penstock.client_slot import ClientSlot
from penstock.errors import FatalConnectorError, NotConnected
from penstock_sqlite import schema
from penstock_sqlite.errors import ERRORS, check_access
from penstock_sqlite.file_system import create_file, warn_of_network
from penstock_sqlite.options import SqliteOptions
from penstock_sqlite.shared_file import SharedFile

OLDEST_SQLITE = (3, 35)  # the first one with RETURNING
CHECKPOINT_PAGES = 4_000  # 16 MB of log: a checkpoint waits for the disk twice
LOCK_PAUSE = 0.001  # seconds between two attempts to write while another process does
LOG_BYTES = 64 * 2**20  # what the log may keep on the disk after a checkpoint

Parameters = Sequence[Any] | Mapping[str, Any]


class Database:
    """A connection, used by one thread at a time.

    Args:
        file: The file, as this process shares it.
        options: The queue's.
        durable: Whether a transaction waits for the disk. Claims need not: one that a power cut undoes was not made.

    Attributes:
        created: Whether `open` has made the tables.
    """

    def __init__(self, file: SharedFile, options: SqliteOptions, *, durable: bool) -> None:
        self._file = file
        self._path = file.path
        self._options = options
        self._durable = durable and options.synchronous == "full"
        self._connection = ClientSlot[sqlite3.Connection](f"SQLite file at {file.path}")
        self._lock = threading.Lock()
        self.created = False
        self._inode = 0
        self._log = -1  # a descriptor of SQLite's log, to wait for the disk

    @property
    def is_open(self) -> bool:
        """Whether `open` succeeded, and `close` was not called since."""
        return self._connection.is_open

    def open(self) -> None:
        """Open the file, also again; create it and its tables if the options allow it.

        Raises:
            NotConnected: the file or its folder does not exist (yet), or is locked.
            FatalConnectorError: it can never be used like this.
        """
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise FatalConnectorError(
                f"this Python has SQLite {sqlite3.sqlite_version}; `connector: sqlite` needs "
                f"{'.'.join(map(str, OLDEST_SQLITE))} or newer; use a newer Python or system"
            )
        with self._lock, ERRORS.translating(self._path):
            self._close(self._connection.take())
            check_access(self._path)
            if self._options.create:
                create_file(self._path)
            # Before SQLite: a file that is replaced meanwhile is noticed by the next transaction.
            self._inode = os.stat(self._path).st_ino
            warn_of_network(self._path)
            connection = self._connect("rw")
            try:
                self._prepare(connection)
                self._log = os.open(f"{self._path}-wal", os.O_RDWR | os.O_CLOEXEC)
                self._connection.put(connection)
            except BaseException:
                connection.close()
                raise

    def _prepare(self, connection: sqlite3.Connection) -> None:
        [mode] = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise FatalConnectorError(
                f"SQLite file at {self._path}: this file system cannot share a database; use a local disk"
            )
        [encoding] = connection.execute("PRAGMA encoding").fetchone()
        if encoding != "UTF-8":
            raise FatalConnectorError(
                f"SQLite file at {self._path}: the database is encoded in {encoding}, and queues need UTF-8; choose "
                "another `path`"
            )
        connection.execute("PRAGMA synchronous = NORMAL")  # the disk is waited for in `transaction`
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
        self.created = schema.prepare(connection, self._path, self._options.create)

    def open_to_read(self) -> None:
        """Open the file as it is, without creating or changing anything."""
        with self._lock, ERRORS.translating(self._path):
            if not self._connection.is_open:
                self._inode = os.stat(self._path).st_ino
                self._connection.put(self._connect("ro"))

    def _connect(self, mode: str) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{Path(self._path).as_uri()}?mode={mode}",
            uri=True,
            timeout=self._options.timeout,
            isolation_level=None,
            check_same_thread=False,
        )

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All statements of this block happen, or none; when it ends they are on the disk, if they are to be durable.

        Raises:
            NotConnected: nothing happened; or, if the disk failed at the end, it happened and may not last.
        """
        with self._lock, ERRORS.translating(self._path):
            connection = self._current()
            with self._turn():
                self._begin(connection)
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    # SQLite has rolled back by itself after some errors, such as a full disk.
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
            if self._durable:
                # Not by SQLite, which would keep all others from writing meanwhile. A log is in order: what this
                # transaction has read is on the disk as well.
                os.fsync(self._log)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._file.writing.acquire(timeout=self._options.timeout):
            raise NotConnected(f"SQLite file at {self._path}: other threads of this process have written for too long")
        try:
            yield
        finally:
            self._file.writing.release()

    def _begin(self, connection: sqlite3.Connection) -> None:
        """Begin to write, as soon as no other process does."""
        deadline = time.monotonic() + self._options.timeout
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            while True:
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    return
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                        raise
                # SQLite itself would sleep longer and longer, up to 100 ms, while others write one after the other.
                time.sleep(random.uniform(0.5, 1.5) * LOCK_PAUSE)
        finally:
            connection.execute(f"PRAGMA busy_timeout = {int(self._options.timeout * 1000)}")

    def read(self, statement: str, parameters: Parameters = ()) -> list[Any]:
        """The rows of a query, as they were at one moment. It waits for no writer."""
        with self._lock, ERRORS.translating(self._path):
            return self._current().execute(statement, parameters).fetchall()

    def read_until(self, statement: str, parameters: Parameters, most_bytes: int) -> list[Any]:
        """The first rows of a query: as many as hold so many bytes, and one that holds more."""
        rows, weight = [], 0
        with self._lock, ERRORS.translating(self._path):
            for row in self._current().execute(statement, parameters):
                rows.append(row)
                weight += sum(len(value) for value in row if isinstance(value, bytes))
                if weight >= most_bytes:
                    break
        return rows

    def _current(self) -> sqlite3.Connection:
        connection = self._connection.get()
        # What is written to a file that was deleted is lost when the last program closes it.
        if os.stat(self._path).st_ino != self._inode:
            raise NotConnected(f"SQLite file at {self._path}: another file is in its place now; opening that")
        return connection

    def close(self) -> None:
        """Close it for good. Idempotent."""
        with self._lock:
            self._close(self._connection.close())

    def _close(self, connection: sqlite3.Connection | None) -> None:
        if connection is not None:
            connection.close()
        if self._log >= 0:
            os.close(self._log)
            self._log = -1
