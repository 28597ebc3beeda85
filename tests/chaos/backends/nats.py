"""Subjects of JetStream, seen by nats-py alone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from tests.chaos.ledger import Letter, Sent
from tests.chaos.servers import Place

TIMEOUT = 3.0  # seconds after which the worker takes a server that says nothing for gone
GROUP = "penstock"

T = TypeVar("T")


class NatsBackend:
    """See `Backend`. A client that knows coroutines alone, on a loop that runs while it is asked."""

    def __init__(self, place: Place, label: str) -> None:
        self._through_proxy = f"nats://127.0.0.1:{place.proxy.port}"
        self._label = label
        self._loop = asyncio.new_event_loop()
        self._client: Client = self._run(nats.connect(f"nats://127.0.0.1:{place.direct}"))
        self._jetstream: JetStreamContext = self._client.jetstream(timeout=10)

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(coroutine)

    def queue(self, name: str, lease: float, dead_letters: bool = False) -> dict[str, Any]:
        self._run(self._jetstream.add_stream(name=self._name(name), subjects=[self._name(name)]))
        config = {"servers": self._through_proxy, "ack_wait": lease, "timeout": TIMEOUT, "group": GROUP}
        return {"profile": "nats-dlq" if dead_letters else "nats", "value": self._name(name), "config": config}

    def _name(self, name: str) -> str:
        return f"{self._label}-{name}"

    def fill(self, name: str, messages: Sequence[Sent]) -> None:
        async def publish() -> None:
            for start in range(0, len(messages), 500):
                some = messages[start : start + 500]
                await asyncio.gather(*(self._jetstream.publish(self._name(name), sent.body) for sent in some))

        self._run(publish())

    def count(self, name: str) -> int | None:
        try:
            return int(self._run(self._jetstream.stream_info(self._name(name))).state.messages)
        except (Error, TimeoutError):
            return None

    def unsettled(self, name: str) -> int | None:
        try:
            group = self._run(self._jetstream.consumer_info(self._name(name), GROUP))
            return (group.num_pending or 0) + (group.num_ack_pending or 0)
        except NotFoundError:
            return self.count(name)
        except (Error, TimeoutError):
            return None

    def outputs(self, name: str) -> Sequence[bytes]:
        return [message.data for message in self._read(name)]

    def letters(self, name: str) -> Sequence[Letter]:
        return [Letter(each.data, (each.headers or {}).get("penstock-error-stage", "?")) for each in self._read(name)]

    def _read(self, name: str) -> list[Msg]:
        async def read(count: int) -> list[Msg]:
            subscription = await self._jetstream.subscribe(self._name(name), ordered_consumer=True)
            try:
                return [await subscription.next_msg(timeout=10) for _ in range(count)]
            finally:
                await subscription.unsubscribe()

        return self._run(read(self.count(name) or 0))

    def close(self) -> None:
        self._run(self._client.close())
        self._loop.close()
