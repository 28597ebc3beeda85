"""What SQLite and the file system raise, as errors that tell the engine what to do and its user what to mend."""

from __future__ import annotations

import os
import sqlite3

from penstock.client_errors import ErrorTable
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected


def _describe(error: BaseException) -> tuple[str, str]:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text, getattr(error, "sqlite_errorname", "")


ERRORS = ErrorTable(
    "SQLite file",
    {
        sqlite3.Error: ConnectorError,
        OSError: NotConnected,
        PermissionError: FatalConnectorError,
        IsADirectoryError: FatalConnectorError,
    },
    by_code={
        "SQLITE_AUTH": FatalConnectorError,
        "SQLITE_BUSY": NotConnected,
        "SQLITE_CANTOPEN": NotConnected,
        "SQLITE_CORRUPT": FatalConnectorError,
        "SQLITE_FULL": NotConnected,
        "SQLITE_IOERR": NotConnected,
        "SQLITE_LOCKED": NotConnected,
        "SQLITE_NOMEM": NotConnected,
        "SQLITE_NOTADB": FatalConnectorError,
        "SQLITE_PERM": FatalConnectorError,
        "SQLITE_PROTOCOL": NotConnected,
        "SQLITE_READONLY": FatalConnectorError,
    },
    remedies={
        FileNotFoundError: "create the file, or set `create: true` in the queue's config",
        IsADirectoryError: "add the name of a file to `path`",
        PermissionError: "let this user read and write the file, or choose another `path`",
        "SQLITE_BUSY": "another program has locked the file for longer than `timeout`; look for a backup, or a "
        "shell with an open transaction",
        "SQLITE_CANTOPEN": "let this user read and write the file",
        "SQLITE_CORRUPT": "stop all that uses the file, copy it, and rescue its content with `sqlite3 FILE .recover`",
        "SQLITE_FULL": "the disk is full; free some space",
        "SQLITE_IOERR": "the file system failed; look at the disk, and at the system's log",
        "SQLITE_NOTADB": "this is another program's file; choose another `path`",
        "SQLITE_READONLY": "let this user write the file",
    },
    describe=_describe,
)
"""The names of SQLite's codes; an extended one (SQLITE_IOERR_FSYNC) begins with its primary one."""


def check_access(path: str) -> None:
    """See that SQLite can work with this file and in its folder; it would say only that it cannot open the file.

    Raises:
        NotConnected: the folder does not exist.
        FatalConnectorError: this user may not create files in it, or may not read and write the file.
    """
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise NotConnected(f"SQLite file at {path}: the folder {folder} does not exist; create it, or mount it")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise FatalConnectorError(
            f"SQLite file at {path}: this user may not create files in {folder}, and SQLite needs two beside the "
            "database; allow it, or choose another folder"
        )
    if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK):
        raise FatalConnectorError(f"SQLite file at {path}: let this user read and write the file")
