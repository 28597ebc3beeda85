"""Looks whether a queue in a file can be used. Creates nothing."""

from __future__ import annotations

import os
from pathlib import Path

from penstock.connectors import Probed
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock_sqlite.database import Database
from penstock_sqlite.options import SqliteOptions

_TABLE = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'penstock_messages')"


def probe(database: Database, path: str, options: SqliteOptions) -> list[Probed]:
    """See `Consumer.probe`.

    Args:
        database: Opened to read only, and left open.
        path: The file.
        options: The queue's.
    """
    folder = Path(path).parent
    if not folder.is_dir():
        raise NotConnected(f"SQLite file at {path}: there is no folder {folder}; create it, or correct `path`")
    for place in (folder, Path(path)):
        # Beside the file SQLite keeps others, so it writes to the folder, too.
        if place.exists() and not os.access(place, os.R_OK | os.W_OK):
            raise FatalConnectorError(
                f"SQLite file at {path}: this user may not read and write {place}; change its permissions"
            )
    if not Path(path).exists() and options.create:
        return [Probed("reachable", True, "the folder can be written"), _created(f"file {path}")]
    database.open_to_read()
    answers = [
        Probed("reachable", True, f"SQLite file at {path} can be opened"),
        Probed("authorised", True, "may write"),
    ]
    if list(database.read(_TABLE)) == [(1,)]:
        return [*answers, Probed("exists", True, "its tables exist")]
    if options.create:
        return [*answers, _created("tables")]
    raise ConnectorError(f"SQLite file at {path}: it has no tables of queues; set `create: true`, or correct `path`")


def _created(what: str) -> Probed:
    return Probed("exists", True, f"{what}: created when a worker starts")
