"""The leases of what is in flight, extended before they end: beside the loop, and beside each other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from time import monotonic

from penstock.errors import NotConnected
from penstock.message import QueueMessage
from penstock.queues.queue import InputQueue

log = logging.getLogger("penstock")

LOOKS = 12  # times in the span of a lease that the engine looks which messages are due
AGE = 3 / LOOKS  # of the span after which one is due: so it is asked for by a third of it
NO_LEASE = 0.5  # seconds between two looks whether there is a lease at all
SHORTEST_PAUSE = 0.01  # seconds between two looks, however short the lease is
AGAIN = 0.25  # seconds after which a call that failed is made again, or sooner if the lease is short
MOST = 1_000  # messages a call; one that fails, or takes long, costs only these
AT_ONCE = 4  # calls under way, so that one without an answer does not hold up what becomes due meanwhile
END_WITHIN = 1.0  # seconds that calls under way have when the engine ends


class Leases:
    """Extends each lease three times in its span, counted from when the message was asked for.

    Args:
        app: The engine's name.
        source: The input queue.
        held: When each message in flight was asked for, by `monotonic`; the oldest first.
    """

    def __init__(self, app: str, source: InputQueue, held: Mapping[QueueMessage, float]) -> None:
        self._app = app
        self._source = source
        self._held = held
        self._extended: dict[QueueMessage, float] = {}  # when this was last asked for with success
        self._asked: set[QueueMessage] = set()  # whose extension is under way
        self._calls: set[asyncio.Task[None]] = set()

    async def keep(self) -> None:
        """Do so until cancelled.

        Raises:
            ConnectorError: the backend refused for good, or the connector has a bug.
        """
        try:
            while True:
                lease = self._source.lease
                await asyncio.sleep(max(lease / LOOKS, SHORTEST_PAUSE) if lease else NO_LEASE)
                for call in [call for call in self._calls if call.done()]:
                    self._calls.discard(call)
                    call.result()
                if lease:
                    self._start(lease)
        finally:
            await self._end()

    def _start(self, lease: float) -> None:
        due = self._due(monotonic() - lease * AGE)
        free = AT_ONCE - len(self._calls)
        # More than so many calls can carry is split among them all the same: else their leases would end.
        most = max(MOST, -(-len(due) // max(1, free)))
        for start in range(0, len(due) if free else 0, most):
            messages = due[start : start + most]
            self._asked.update(messages)
            self._calls.add(asyncio.create_task(self._extend(messages, lease)))

    def _due(self, before: float) -> list[QueueMessage]:
        """What was asked for before that time; what waits longest comes first."""
        held, extended = self._held, self._extended
        due: dict[QueueMessage, float] = {}
        for message, asked in held.items():
            if asked > before:
                break  # the rest is younger
            since = extended.get(message, asked)
            if since <= before and message not in self._asked:
                due[message] = since
        if extended:
            self._extended = {message: since for message, since in extended.items() if message in held}
        return sorted(due, key=due.__getitem__)

    async def _extend(self, messages: Sequence[QueueMessage], lease: float) -> None:
        try:
            asked = monotonic()
            await self._source.extend(messages)
        except NotConnected as error:
            log.warning("engine %r: leases could not be extended: %s", self._app, error,
                        extra={"engine": self._app, "queue": self._source.name})  # fmt: skip
            await asyncio.sleep(min(AGAIN, lease / LOOKS))
        else:
            self._extended.update(dict.fromkeys(messages, asked))
        finally:
            self._asked.difference_update(messages)

    async def _end(self) -> None:
        if self._calls:
            # Not broken off at once: some clients give up their connection for that.
            await asyncio.wait(self._calls, timeout=END_WITHIN)
        for call in self._calls:
            call.cancel()
        # Until they have ended, too: the queue is closed next, and none may open a connection behind that.
        await asyncio.gather(*self._calls, return_exceptions=True)
