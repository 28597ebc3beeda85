"""Messages claimed from a table, over the session that also waits for new ones."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Sequence

from psycopg import sql

from penstock.bulk import AdaptiveLimit
from penstock.errors import NotConnected
from penstock_postgres.message import PostgresMessage, tokens
from penstock_postgres.options import PostgresOptions, TableOptions
from penstock_postgres.queue_table import QueueTable
from penstock_postgres.session import Query, Session

WAKE_INTERVAL = 0.1  # seconds between two looks for ended delays and leases while messages are claimed
MIN_PAUSE = 0.01  # seconds between two looks at an empty queue
MAX_BYTES = 16 * 1024 * 1024  # of bodies in one claim; for a user's table by the size of the last ones
MAX_MESSAGES = 100_000  # in one claim
FIRST_CLAIM = 100  # messages; the size of bodies is not known yet

# If a crash of the server undoes a claim, its messages are delivered again. So a claim need not wait for the disk.
NOT_DURABLY = sql.SQL("SET synchronous_commit = off")


class Claims:
    """Claims the messages of one queue, and waits while there are none.

    It looks again when a notification comes, when a delay or lease ends, and after `poll_interval`.

    Args:
        queue: What the queue is in the database.
        options: Its options.
    """

    def __init__(self, queue: QueueTable, options: PostgresOptions | TableOptions) -> None:
        setup: list[Query] = [NOT_DURABLY]
        if queue.channel is not None:
            setup.append(sql.SQL("LISTEN {}").format(sql.Identifier(queue.channel)))
        self.session = Session(options, *setup)
        self._queue = queue
        self._options = options
        self._worker = f"{socket.gethostname()}:{os.getpid()}"
        self._tokens = tokens()
        self._limit = AdaptiveLimit(MAX_MESSAGES, FIRST_CLAIM)
        # By the monotonic clock. Kept between calls, so that short calls do not look more often.
        self._look_at = 0.0
        self._wake_at = 0.0

    async def open(self) -> None:
        """Open the session, or check that it still answers."""
        if await self.session.open():
            self._look_at = 0.0  # notifications were missed meanwhile

    async def next(self, max_messages: int, timeout: float) -> list[PostgresMessage]:
        """See `Consumer.consume`."""
        deadline = time.monotonic() + timeout
        while True:
            if time.monotonic() < self._look_at:
                await self._wait(deadline)
            if time.monotonic() >= self._look_at and (messages := await self._look(max_messages)):
                return messages
            if time.monotonic() >= deadline:
                return []

    async def chosen(self, positions: Sequence[str]) -> list[PostgresMessage]:
        """See `Consumer.claim`. It goes on until all of them are claimed, some of their bodies at a time."""
        messages: list[PostgresMessage] = []
        await self._wake()
        while len(messages) < len(positions) and (more := await self._claim(len(positions), positions)):
            messages += more
        return messages

    def look_within(self, seconds: float) -> None:
        """Look again after this time at the latest: a message becomes visible then."""
        self._look_at = min(self._look_at, time.monotonic() + seconds)

    async def _look(self, max_messages: int) -> list[PostgresMessage]:
        self._look_at = time.monotonic() + self._options.poll_interval
        woke = time.monotonic() >= self._wake_at
        if woke:
            if self._queue.channel is not None:
                # A busy consumer never waits, so drain psycopg's backlog of notifications here.
                await self.session.notified(0)
            await self._wake()
        messages = await self._claim(max_messages)
        if not messages and not woke and await self._wake():
            messages = await self._claim(max_messages)
        if messages:
            self._look_at = 0.0  # there may be more
        return messages

    async def _claim(self, max_messages: int, positions: Sequence[str] | None = None) -> list[PostgresMessage]:
        token = next(self._tokens)
        limit = min(max_messages, self._limit.value)
        parameters = {
            "limit": limit,
            "bytes": MAX_BYTES,
            "lease": self._options.lease,
            "token": token,
            "worker": self._worker,
        }
        query = self._queue.claim
        if positions is not None:
            query, parameters = self._queue.claim_chosen, {**parameters, **self._queue.chosen(positions)}
        try:
            rows = await self.session.run(query, {**parameters, **self._queue.scope})
        except NotConnected:
            self._limit.failed(limit)  # it may have been too much for `timeout`
            raise
        make = self._queue.message
        messages = [make(row, token) for row in rows]
        if messages:
            size = sum(len(message.message or b"") + len(message.key or b"") for message in messages)
            self._limit.fit(len(messages), size, MAX_BYTES)
        return messages

    async def _wake(self) -> int:
        """Make messages visible whose delays or leases have ended; returns how many."""
        [[woken, next_due]] = await self.session.run(self._queue.wake, self._queue.scope)
        self._wake_at = time.monotonic() + WAKE_INTERVAL
        if next_due is not None:
            self.look_within(max(next_due, MIN_PAUSE))
        return int(woken)

    async def _wait(self, deadline: float) -> None:
        pause = max(0.0, min(self._look_at, deadline) - time.monotonic())
        if self._queue.channel is None:
            await asyncio.sleep(pause)
        elif await self.session.notified(pause):
            self._look_at = 0.0
