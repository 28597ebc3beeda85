"""Reading a queue without changing it. Nothing here receives a message."""

from __future__ import annotations

import re
from collections.abc import Iterator
from heapq import nsmallest

from penstock.bulk import chunks
from penstock.connectors import Backlog
from penstock.errors import ConnectorError
from penstock.message import BrowsedMessage
from penstock_rsmq.client import RsmqClient
from penstock_rsmq.keys import sent_at
from penstock_rsmq.scripts import BACKLOG, BROWSE, IDS, MAX_BYTES, MAX_MESSAGES

TOLD_APART = 5_000  # hidden messages of which each is looked at; more would block the server for more than some 5 ms
LOOKED_AT = 1_000  # visible messages among which the oldest is looked for; a requeued one may be behind younger ones
IDS_AT_ONCE = 2_000  # ids that one script call reads; it blocks the server for about 1 ms

_ID = re.compile(r"[0-9A-Za-z]+")


async def browse(client: RsmqClient, limit: int, after: str | None) -> list[BrowsedMessage]:
    """Read messages sorted by id, which is the order in which they were sent; see `Consumer.browse`.

    RSMQ sorts by the time of visibility, which changes with each delivery. So a page reads all ids of the queue, some
    thousands a call, and takes the lowest.

    Args:
        client: One that creates no queue. It is connected again for each page.
        limit: How many messages.
        after: The id to go on behind.
    """
    if after is not None and not _ID.fullmatch(after):
        raise ConnectorError(f"{after!r} is not a position of queue {client.name!r}; a position is a message's id")
    await client.connect()
    messages: list[BrowsedMessage] = []
    while not messages and (ids := await _lowest_ids(client, limit, after or "")):
        size = 0
        for some in chunks(ids, MAX_MESSAGES):
            heads, bodies, read = await client.run(BROWSE, MAX_BYTES, *some)
            messages += _unpacked(heads.decode(), bodies)
            size += len(bodies)
            if size >= MAX_BYTES or read < len(some):
                break  # the rest comes with the next page
        after = ids[-1]  # if all of them are gone by now, others may follow
    return messages


async def backlog(client: RsmqClient) -> Backlog:
    """Count the messages; see `Consumer.backlog`.

    Args:
        client: One that creates no queue. It is connected again for each call.
    """
    await client.connect()
    visible, hidden, delayed, oldest = await client.run(BACKLOG, TOLD_APART, LOOKED_AT)
    since = sent_at(oldest.decode()) if oldest else None
    if delayed < 0:
        return Backlog(waiting=visible, oldest=since)
    return Backlog(visible, hidden - delayed, delayed, since)


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
        timestamp = sent_at(message_id)
        yield BrowsedMessage(bodies[start:end], message_id, timestamp=timestamp, attempts=int(count), state=state)
        start = end
