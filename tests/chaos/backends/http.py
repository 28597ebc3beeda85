"""A feed and the URLs of webhooks, seen by the standard library's client alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast
from urllib.request import Request, urlopen

from tests.chaos.ledger import Letter, Sent
from tests.chaos.servers import Place
from tests.servers.feed import FeedServer

TIMEOUT = 3.0  # seconds after which the worker takes a server that says nothing for gone


class HttpBackend:
    """See `Backend`. What workers have settled is read from the file that keeps their place."""

    def __init__(self, place: Place, label: str) -> None:
        self._server = cast(FeedServer, place.server)
        self._through_proxy = f"http://127.0.0.1:{place.proxy.port}"
        self._label = label

    def queue(self, name: str, lease: float, dead_letters: bool = False) -> dict[str, Any]:  # noqa: ARG002
        url = f"{self._through_proxy}/{self._name(name)}"
        if name != "source":
            profile = "http-webhook-dlq" if dead_letters else "http-webhook"
            return {"profile": profile, "value": url, "config": {"timeout": TIMEOUT, "breaker_pause": 0.5}}
        feed = {
            "params": {"plain": 1},
            "items": "",
            "item_id": "/serial",
            "cursor": {"from": "link"},
            "interval": 0.2,
            "timeout": TIMEOUT,
            "state": str(self._place(name)),
        }
        return {"profile": "http-poll", "value": url, "config": feed}

    def _name(self, name: str) -> str:
        return f"{self._label}-{name}"

    def _place(self, name: str) -> Path:
        return self._server.directory / f"{self._name(name)}.place"

    def fill(self, name: str, messages: Sequence[Sent]) -> None:
        for start in range(0, len(messages), 5_000):
            body = b"\n".join(sent.body for sent in messages[start : start + 5_000])
            urlopen(Request(f"{self._server.url}/{self._name(name)}", body, method="PUT"), timeout=30).close()

    def count(self, name: str) -> int | None:
        try:
            with urlopen(f"{self._server.url}/{self._name(name)}?count=1", timeout=10) as answer:
                return int(answer.read())
        except OSError:
            return None

    def unsettled(self, name: str) -> int | None:
        total = self.count(name)
        if total is None or not self._place(name).exists():
            return total
        stored = json.loads(self._place(name).read_text())
        url = (stored["place"] or {}).get("url", "after=0")
        return total - int(url.rpartition("after=")[2]) - len(stored["settled"])

    def outputs(self, name: str) -> Sequence[bytes]:
        return [body for body, _stage in self._server.stored(self._name(name))]

    def letters(self, name: str) -> Sequence[Letter]:
        return [Letter(*stored) for stored in self._server.stored(self._name(name))]

    def close(self) -> None:
        pass
