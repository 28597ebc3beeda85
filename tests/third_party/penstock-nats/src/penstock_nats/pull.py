"""Messages by request: the server sends as many as it was asked for, then says that it has finished."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from nats.aio.msg import Msg
from penstock.errors import ConnectorError, NotConnected

from penstock_nats.connection import Connection, Wait

MOST_BYTES = 32 * 2**20  # of one answer; a larger message comes alone
ENDS = ("404", "408")  # no messages; no more of them in time
COMPLETED = "batch completed"  # said by servers since 2.10 after the last message of a request with max_bytes
TOO_LARGE = "message size exceeds maxbytes"


class Puller:
    """Pulls for one group over one connection, one request at a time.

    Attributes:
        arrived: What the server has sent and nobody has taken yet, each with the time, by the event loop's clock, when it
            was asked for. It survives a request that failed half-way.
    """

    def __init__(self) -> None:
        self.arrived: list[tuple[Msg, float]] = []
        self._connection: Connection | None = None
        self._next = ""
        self._inbox = ""
        self._wait: Wait | None = None
        self._wanted = 0
        self._asked = 0.0
        self._said = ""
        self._number = 0

    async def open(self, connection: Connection, stream: str, group: str) -> None:
        """Be ready to pull, also again over a new connection."""
        self._connection = connection
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{group}"
        self._inbox = connection.client.new_inbox()
        await connection.client.subscribe(f"{self._inbox}.*", cb=self._on_message)

    async def at_hand(self, count: int) -> None:
        """Let up to `count` messages arrive, as far as they are there; one that is larger than all bounds, alone."""
        if await self._request({"batch": count, "no_wait": True, "max_bytes": MOST_BYTES}, count) == TOO_LARGE:
            await self._request({"batch": 1, "no_wait": True}, 1)

    async def next(self, seconds: float) -> None:
        """Let one message arrive, or none within `seconds`."""
        await self._request({"batch": 1, "expires": int(seconds * 1e9)}, 1, seconds)

    async def _request(self, request: dict[str, Any], count: int, seconds: float = 0.0) -> str:
        """Returns when the server has finished; what it said if that was because of a size, else ""."""
        if self._connection is None:
            raise ConnectorError("not connected")
        with self._connection.waiting() as wait:
            wait.patience += seconds
            self._wait, self._wanted, self._said = wait, count, ""
            self._asked = asyncio.get_running_loop().time()
            self._number += 1
            try:
                publish = self._connection.client.publish(
                    self._next, json.dumps(request).encode(), f"{self._inbox}.{self._number}"
                )
                await wait.until_end(publish)
            finally:
                self._wait = None
        return self._said

    async def _on_message(self, message: Msg) -> None:
        wait = self._wait
        if not message.subject.startswith(self._inbox):
            self.arrived.append((message, self._asked))
            self._wanted -= 1
            if wait is not None:
                wait.progress()
                if not self._wanted:
                    wait.end()
        elif wait is not None and message.subject == f"{self._inbox}.{self._number}":
            # A status of an earlier request may still come after the last message that it was for.
            self._finish(wait, message)

    def _finish(self, wait: Wait, message: Msg) -> None:
        headers = message.headers or {}
        status, description = headers.get("Status", ""), headers.get("Description", "").lower()
        if status == "409" and description == TOO_LARGE:
            self._said = TOO_LARGE
            wait.end()
        elif status in ENDS or description == COMPLETED:
            wait.end()
        elif status == "400":
            wait.end(ConnectorError(f"the server refused a pull request: {description}"))
        elif status != "100":
            # The group was deleted, its leader moved, the server ends: connecting again finds out.
            wait.end(NotConnected(f"the server ended a pull request: {status} {description}".rstrip()))
