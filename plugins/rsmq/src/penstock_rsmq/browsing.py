"""Reading a queue without changing it. Nothing here receives a message."""

from __future__ import annotations

import re
from collections.abc import Iterator
from heapq import nsmallest

from penstock.bulk import chunks
from penstock.client_slot import ClientSlot
from penstock.errors import ConnectorError, NotConnected
from penstock.message import BrowsedMessage
from penstock_rsmq.client import RsmqClient
from penstock_rsmq.keys import sent_at
from penstock_rsmq.options import RsmqOptions
from penstock_rsmq.scripts import BROWSE, IDS, MAX_BYTES, MAX_MESSAGES

IDS_AT_ONCE = 2_000  # ids that one script call reads; it blocks the server for about 1 ms

_ID = re.compile(r"[0-9A-Za-z]+")


class Browser:
    """Reads the messages of one queue, sorted by id, which is the order in which they were sent.

    RSMQ sorts by the time of visibility, which changes with each delivery. So a page reads all ids of the queue, some
    thousands a call, and takes the lowest.

    Args:
        name: The queue.
        options: Its options; a queue that is not there is not created.
    """

    def __init__(self, name: str, options: RsmqOptions) -> None:
        self._name = name
        self._options = options.model_copy(update={"create": False})
        self._client = ClientSlot[RsmqClient](f"queue {name!r}")

    async def browse(self, limit: int, after: str | None) -> list[BrowsedMessage]:
        """See `Consumer.browse`."""
        if after is not None and not _ID.fullmatch(after):
            raise ConnectorError(f"{after!r} is not a position of queue {self._name!r}; a position is a message's id")
        if not self._client.is_open:
            client = RsmqClient(self._name, self._options)
            await client.connect()
            self._client.put(client)
        try:
            return await self._read(self._client.get(), limit, after or "")
        except NotConnected:
            await self.close()
            raise

    async def _read(self, client: RsmqClient, limit: int, after: str) -> list[BrowsedMessage]:
        messages: list[BrowsedMessage] = []
        while not messages and (ids := await _lowest_ids(client, limit, after)):
            size = 0
            for some in chunks(ids, MAX_MESSAGES):
                heads, bodies, read = await client.run(BROWSE, MAX_BYTES, *some)
                messages += _unpacked(heads.decode(), bodies)
                size += len(bodies)
                if size >= MAX_BYTES or read < len(some):
                    break  # the rest comes with the next page
            after = ids[-1]  # if all of them are gone by now, others may follow
        return messages

    async def close(self) -> None:
        """Close the connection."""
        client = self._client.take()
        if client is not None:
            await client.close()


async def _lowest_ids(client: RsmqClient, limit: int, after: str) -> list[str]:
    found: set[str] = set()  # an id may be read twice
    cursor = "0"
    while True:
        cursor, ids = (part.decode() for part in await client.run(IDS, cursor, IDS_AT_ONCE))
        found.update(each for each in ids.split() if each > after)
        found = set(nsmallest(limit, found))
        if cursor == "0":
            return sorted(found)


def _unpacked(heads: str, bodies: bytes) -> Iterator[BrowsedMessage]:
    start = 0
    for message_id, count, length, state in zip(*[iter(heads.split())] * 4, strict=True):
        end = start + int(length)
        yield BrowsedMessage(
            bodies[start:end],
            message_id,
            timestamp=sent_at(message_id),
            attempts=int(count),
            state=state,
        )
        start = end
