"""Extends the leases of messages in flight before they end, in calls of its own beside the loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from time import monotonic

from penstock.errors import NotConnected
from penstock.message import QueueMessage
from penstock.queues.queue import InputQueue

log = logging.getLogger("penstock")

CHECKS = 12  # times in the span of a lease that the engine checks which messages are due
DUE_AFTER = 3 / CHECKS  # of the span; so that an extension is asked for within a third of it
LONGEST_PAUSE = 0.5  # seconds between two checks: whether there is a lease, and whether it has become shorter
SHORTEST_PAUSE = 0.01  # seconds between two checks, however short the lease is
RETRY_AFTER = 0.25  # seconds after which a call that failed is made again, or sooner if the lease is short
MAX_MESSAGES = 1_000  # in a call; one that fails, or takes long, costs only these
MAX_CALLS = 4  # under way, so that one without an answer does not hold up what becomes due meanwhile
END_WITHIN = 1.0  # seconds that calls under way have when the engine ends


class LeaseExtender:
    """Extends each lease three times in its span, counted from when the message was asked for.

    Args:
        app: The engine's name.
        source: The input queue.
        received_at: When each message in flight was asked for, by `monotonic`; the oldest first.
    """

    def __init__(self, app: str, source: InputQueue, received_at: Mapping[QueueMessage, float]) -> None:
        self._app = app
        self._source = source
        self._received_at = received_at
        self._extended: dict[QueueMessage, float] = {}  # when the last successful extension was asked for
        self._under_way: set[QueueMessage] = set()  # messages that are being extended
        self._calls: set[asyncio.Task[None]] = set()

    async def keep(self) -> None:
        """Extend leases until cancelled.

        Raises:
            ConnectorError: the backend refused for good, or the connector has a bug.
        """
        try:
            while True:
                lease = self._source.lease
                pause = max(lease / CHECKS, SHORTEST_PAUSE) if lease else LONGEST_PAUSE
                await asyncio.sleep(min(pause, LONGEST_PAUSE))
                for call in [call for call in self._calls if call.done()]:
                    self._calls.discard(call)
                    call.result()
                if lease:
                    self._start(lease)
        finally:
            await self._end()

    def _start(self, lease: float) -> None:
        due = self._due(monotonic() - lease * DUE_AFTER)
        free = MAX_CALLS - len(self._calls)
        # More than these calls can carry is split among them all the same, or leases would end.
        size = max(MAX_MESSAGES, -(-len(due) // max(1, free)))
        for start in range(0, len(due) if free else 0, size):
            messages = due[start : start + size]
            self._under_way.update(messages)
            self._calls.add(asyncio.create_task(self._extend(messages, lease)))

    def _due(self, before: float) -> list[QueueMessage]:
        """Messages that were asked for before that time; the one that waits longest comes first."""
        received_at, extended = self._received_at, self._extended
        due: dict[QueueMessage, float] = {}
        for message, asked in received_at.items():
            if asked > before:
                break  # the rest is younger
            since = extended.get(message, asked)
            if since <= before and message not in self._under_way:
                due[message] = since
        if extended:
            self._extended = {message: since for message, since in extended.items() if message in received_at}
        return sorted(due, key=due.__getitem__)

    async def _extend(self, messages: Sequence[QueueMessage], lease: float) -> None:
        try:
            asked = monotonic()
            await self._source.extend(messages)
        except NotConnected as error:
            log.warning("engine %r: leases could not be extended: %s", self._app, error)
            await asyncio.sleep(min(RETRY_AFTER, lease / CHECKS))
        else:
            self._extended.update(dict.fromkeys(messages, asked))
        finally:
            self._under_way.difference_update(messages)

    async def _end(self) -> None:
        if self._calls:
            # Not cancelled at once: some clients close their connection then.
            await asyncio.wait(self._calls, timeout=END_WITHIN)
        for call in self._calls:
            call.cancel()
        # They must have ended: the queue is closed next, and none may open a connection after that.
        await asyncio.gather(*self._calls, return_exceptions=True)
