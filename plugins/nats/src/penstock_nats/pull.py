"""Messages by request: the server sends as many as it was asked for, then reports that it has finished."""

from __future__ import annotations

import json
from time import monotonic
from typing import Any

from nats.aio.msg import Msg

from penstock.confirmations import Confirmations
from penstock.errors import ConnectorError, NotConnected
from penstock_nats.connection import Connection

MAX_BYTES = 32 * 2**20  # of one answer; a larger message comes alone
ENDS = ("404", "408")  # no messages; no more of them in time
COMPLETED = "batch completed"  # said by servers since 2.10 after the last message of a request with max_bytes
TOO_LARGE = "message size exceeds maxbytes"


class Puller:
    """Pulls for one group over one connection, one request at a time.

    Attributes:
        arrived: What the server has sent and `consume` has not taken yet, each with the time, by `time.monotonic`, when
            it was asked for. It survives a request that failed half-way.
    """

    def __init__(self, connection: Connection) -> None:
        self.arrived: list[tuple[Msg, float]] = []
        self._connection = connection
        self._subject = ""
        self._inbox = ""
        self._answers: Confirmations[None] | None = None
        self._received = 0
        self._asked = 0.0
        self._too_large = False
        self._number = 0

    async def open(self, stream: str, group: str) -> None:
        """Be ready to pull, also again after the connection was lost."""
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{group}"
        client = self._connection.client
        self._inbox = client.new_inbox()
        await client.subscribe(f"{self._inbox}.*", cb=self._on_message)

    async def pull(self, count: int, seconds: float = 0.0) -> None:
        """Let up to `count` messages arrive: what is there; with `seconds`, wait so long for the first one."""
        wait = {"expires": int(seconds * 1e9)} if seconds else {"no_wait": True, "max_bytes": MAX_BYTES}
        await self._request({"batch": count, **wait}, count, seconds)
        if self._too_large:  # a message beyond all limits comes alone
            await self._request({"batch": 1, "no_wait": True}, 1)

    async def _request(self, request: dict[str, Any], count: int, seconds: float = 0.0) -> None:
        answers = self._answers = Confirmations[None](count)
        self._received, self._too_large, self._asked = 0, False, monotonic()
        self._number += 1
        try:
            with self._connection.expecting(answers):
                reply = f"{self._inbox}.{self._number}"
                publish = self._connection.client.publish(self._subject, json.dumps(request).encode(), reply)
                await answers.wait(self._connection.timeout + seconds, publish)
        finally:
            self._answers = None

    async def _on_message(self, message: Msg) -> None:
        answers = self._answers
        if not message.subject.startswith(self._inbox):
            self.arrived.append((message, self._asked))
            if answers is not None:
                answers.report(self._received, None)
                self._received += 1
        elif answers is not None and message.subject == f"{self._inbox}.{self._number}":
            # A status of an earlier request may still come after the last message that it was for.
            self._finish(answers, message)

    def _finish(self, answers: Confirmations[None], message: Msg) -> None:
        headers = message.headers or {}
        status, description = headers.get("Status", ""), headers.get("Description", "").lower()
        self._too_large = status == "409" and description == TOO_LARGE
        if self._too_large or status in ENDS or description == COMPLETED:
            answers.end()
        elif status == "400":
            answers.end(ConnectorError(f"the server refused a pull request: {description}"))
        elif status != "100":
            # The group was deleted, its leader moved, the server ends: connecting again finds out.
            answers.end(NotConnected(f"the server ended a pull request: {status} {description}".rstrip()))
