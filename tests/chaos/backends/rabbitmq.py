"""Quorum queues of RabbitMQ, seen by aio-pika alone."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import CONNECTION_EXCEPTIONS

from tests.chaos.backends.by_outputs import without_output
from tests.chaos.ledger import Letter, Sent
from tests.chaos.servers import Place

TIMEOUT = 30.0  # seconds; only workers are killed here, so a server that is slow on a busy machine is not away
READ_WITHIN = 400.0  # seconds for 20,000 messages; a busy machine took more than 60

T = TypeVar("T")


class RabbitmqBackend:
    """See `Backend`. A client that knows coroutines alone, on a loop that runs while it is asked."""

    def __init__(self, place: Place, label: str) -> None:
        self._port = place.proxy.port
        self._label = label
        self._kept: dict[str, list[AbstractIncomingMessage]] = defaultdict(list)  # what was read is gone from its queue
        self._sent = 0
        self._results: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._connection, self._channel = self._run(_open(place.direct))

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(coroutine)

    async def _declared(self, name: str) -> AbstractQueue:
        arguments = {"x-queue-type": "quorum"}
        return await self._channel.declare_queue(f"{self._label}-{name}", durable=True, arguments=arguments)

    def queue(self, name: str, lease: float, dead_letters: bool = False) -> dict[str, Any]:
        queue = self._run(self._declared(name))
        if name != "source":
            self._results.append(name)
        config = {"host": "127.0.0.1", "port": self._port, "timeout": TIMEOUT, "heartbeat": int(lease)}
        return {"profile": "rabbitmq-dlq" if dead_letters else "rabbitmq", "value": queue.name, "config": config}

    def fill(self, name: str, messages: Sequence[Sent]) -> None:
        async def publish() -> None:
            queue = await self._declared(name)
            for start in range(0, len(messages), 500):
                some = [aio_pika.Message(sent.body, delivery_mode=2) for sent in messages[start : start + 500]]
                exchange = self._channel.default_exchange
                await asyncio.gather(*(exchange.publish(each, queue.name) for each in some))

        self._run(publish())
        self._sent = len(messages)

    def count(self, name: str) -> int | None:
        waiting = self._waiting(name)
        return None if waiting is None else waiting + len(self._kept[name])

    def unsettled(self, name: str) -> int | None:
        # What waits and what workers hold; the protocol counts only the first.
        missing = without_output(self, self._sent, self._results)
        return self._waiting(name) if missing == 0 else missing

    def _waiting(self, name: str) -> int | None:
        try:
            return int(self._run(self._declared(name)).declaration_result.message_count or 0)
        except CONNECTION_EXCEPTIONS:
            return None

    def _read(self, name: str) -> list[AbstractIncomingMessage]:
        kept = self._kept[name]

        async def read() -> None:
            queue, all_there = await self._declared(name), asyncio.Event()
            wanted = len(kept) + (queue.declaration_result.message_count or 0)

            async def take(message: AbstractIncomingMessage) -> None:
                kept.append(message)
                if len(kept) >= wanted:
                    all_there.set()

            if len(kept) < wanted:
                tag = await queue.consume(take, no_ack=True)
                await asyncio.wait_for(all_there.wait(), READ_WITHIN)
                await queue.cancel(tag)

        self._run(read())
        return kept

    def outputs(self, name: str) -> Sequence[bytes]:
        return [message.body for message in self._read(name)]

    def letters(self, name: str) -> Sequence[Letter]:
        read = self._read(name)
        return [Letter(message.body, str(message.headers.get("penstock-error-stage", "?"))) for message in read]

    def close(self) -> None:
        self._run(self._connection.close())
        self._loop.close()


async def _open(port: int) -> tuple[AbstractConnection, AbstractChannel]:
    # No heartbeats: the loop stands still between two questions.
    connection = await aio_pika.connect(f"amqp://127.0.0.1:{port}/?heartbeat=0")
    return connection, await connection.channel()
