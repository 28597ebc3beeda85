"""Messages looked at without being taken."""

from __future__ import annotations

import time
from typing import Any

from penstock.connectors import Backlog
from penstock.errors import ConnectorError
from penstock.message import BrowsedMessage, BrowseState
from penstock_sqlite.database import Database
from penstock_sqlite.message import readable_headers
from penstock_sqlite.statements import BACKLOG, BROWSE

PAGE_BYTES = 8 * 2**20


def browse(database: Database, queue: str, limit: int, after: str | None) -> list[BrowsedMessage]:
    """See `Consumer.browse`."""
    if after is not None and not (after.isdecimal() and after.isascii()):
        raise ConnectorError(f"{after!r} is not a position of queue {queue!r}; a position is a number, like '42'")
    database.open_to_read()
    now = time.time()
    return [_message(row, now) for row in database.read_until(BROWSE, (queue, int(after or 0), limit), PAGE_BYTES)]


def backlog(database: Database, queue: str) -> Backlog:
    """See `Consumer.backlog`."""
    database.open_to_read()
    [row] = database.read(BACKLOG, {"queue": queue, "now": time.time()})
    return Backlog(*row)


def _message(row: tuple[Any, ...], now: float) -> BrowsedMessage:
    number, body, key, headers, timestamp, attempts, claim, visible_at = row
    state: BrowseState = "waiting"
    if claim is not None:
        state = "leased"
    elif visible_at is not None and visible_at > now:
        state = "delayed"
    return BrowsedMessage(
        body,
        str(number),
        key=key,
        headers=readable_headers(headers),
        timestamp=timestamp,
        attempts=attempts,
        state=state,
    )
