"""Reading a queue without changing it, over a session of its own."""

from __future__ import annotations

from typing import Any

from penstock.connectors import Backlog
from penstock.errors import ConnectorError
from penstock.message import BrowsedMessage
from penstock_postgres.errors import rejects_data
from penstock_postgres.message import readable_headers
from penstock_postgres.options import PostgresOptions, TableOptions
from penstock_postgres.queue_table import QueueTable
from penstock_postgres.session import Session

MOST_BYTES = 8 * 1024 * 1024  # of bodies in one page


class Browser:
    """Reads the messages of one queue, sorted by id.

    Args:
        queue: What the queue is in the database. Not shared with a consumer, because preparing it changes it.
        options: The queue's options.
    """

    def __init__(self, queue: QueueTable, options: PostgresOptions | TableOptions) -> None:
        self._queue = queue
        self._session = Session(options)
        self._ready = False

    async def browse(self, limit: int, after: str | None) -> list[BrowsedMessage]:
        """See `Consumer.browse`."""
        await self._open()
        query, parameters = self._queue.browse(after)
        try:
            rows = await self._session.run(query, {**parameters, "limit": limit, "bytes": MOST_BYTES})
        except ConnectorError as error:
            if after is None or not rejects_data(error):
                raise
            raise ConnectorError(
                f"{after!r} is not a position of {self._queue.label}; a position is the id of a message"
            ) from error
        return [_message(*row) for row in rows]

    async def backlog(self) -> Backlog:
        """See `Consumer.backlog`."""
        await self._open()
        [row] = await self._session.run(self._queue.backlog, self._queue.scope)
        return Backlog(*row)

    async def _open(self) -> None:
        if await self._session.open() or not self._ready:
            self._ready = False
            await self._queue.prepare_to_browse(self._session)
            self._ready = True

    async def close(self) -> None:
        """Close the session."""
        await self._session.close()


def _message(
    position: str,
    body: bytes | None,
    attempts: int,
    state: Any,
    key: bytes | None = None,
    written_headers: str | None = None,
    timestamp: float | None = None,
) -> BrowsedMessage:
    return BrowsedMessage(
        body,
        position,
        key=key,
        headers=readable_headers(written_headers),
        timestamp=timestamp,
        attempts=attempts,
        state=state,
    )
