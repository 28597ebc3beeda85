"""The correct connector, which passes the whole kit; every mutant is a variation of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from mutants.options import ReferenceOptions
from mutants.store import Store
from penstock.connectors import Backlog, Consumer, Created, Producer, Refusal, Transacted
from penstock.errors import ConnectorError, NotConnected, ProduceError
from penstock.message import BrowsedMessage, QueueMessage, Record

LOOK = 0.01  # seconds between two looks at an empty queue
MOST_BYTES = 2_000_000  # of a body


class Server:
    """What a client sees of a server that is there, away, hung, or restarted."""

    def __init__(self, path: str) -> None:
        self._away = Path(f"{path}.away")
        self._hangs = Path(f"{path}.hangs")
        self._started = Path(f"{path}.started")
        self._directory = Path(path).parent
        self._connected_to = ""

    async def connect(self) -> None:
        """Return if it is there."""
        while self._hangs.exists():
            await asyncio.sleep(LOOK)
        if self._away.exists() or not self._directory.exists():
            raise NotConnected(f"nothing answers at {self._directory}")
        self._connected_to = self.start()

    async def answer(self) -> None:
        """Return if it is there, and has been since `connect`."""
        if self._connected_to != self.start():
            raise NotConnected("the connection was closed by the server")
        while self._hangs.exists():
            await asyncio.sleep(LOOK)
        if self._away.exists():
            raise NotConnected(f"nothing answers at {self._directory}")

    def start(self) -> str:
        return self._started.read_text() if self._started.exists() else "for the first time"


class ReferenceConsumer(Consumer):
    """Leases messages, and settles them by their tokens."""

    options: ReferenceOptions

    def __init__(self, name: str, options: ReferenceOptions) -> None:
        super().__init__(name, options)
        self.lease = options.lease
        self.backend = Server(options.path)
        self.store: Store | None = None
        self.held: dict[int, QueueMessage] = {}

    def open(self) -> Store:
        return Store(self.options.path, self.name, self.options.group)

    async def connect(self) -> None:
        await self.backend.connect()
        if self.store is None:
            self.store = self.open()

    def opened(self) -> Store:
        if self.store is None:
            raise ConnectorError(f"the consumer of {self.name!r} is not open")
        return self.store

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        deadline = time.monotonic() + timeout
        while True:
            await self.backend.answer()
            messages = self.opened().take(max_messages, self.options.lease)
            for message in messages:
                if message.message_context[0] in self.held:
                    message.abandoned = 0  # our own lease ended, and we live
            if messages or time.monotonic() >= deadline:
                self.held.update({message.message_context[0]: message for message in messages})
                return messages
            await asyncio.sleep(LOOK)

    def forget(self, messages: Sequence[QueueMessage]) -> None:
        for message in messages:
            if self.held.get(message.message_context[0]) is message:
                del self.held[message.message_context[0]]

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        await self.backend.answer()
        settled = self.opened().settle(messages)
        self.forget(messages)
        return len(messages) - settled

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:
        await self.backend.answer()
        self.opened().requeue(messages, delay or 0.0)
        self.forget(messages)

    async def extend(self, messages: Sequence[QueueMessage]) -> None:
        await self.backend.answer()
        self.opened().extend(messages, self.options.lease)

    async def begin_call(self, messages: Sequence[QueueMessage]) -> None:
        await self.backend.answer()
        self.opened().record(messages, [message.abandoned or 0 for message in messages])

    async def end_call(self, messages: Sequence[QueueMessage]) -> None:
        await self.backend.answer()
        self.opened().record(messages, [0] * len(messages))

    async def lag(self) -> int | None:
        await self.backend.answer()
        return self.opened().lag()

    async def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        if self.store is None:
            await self.connect()
        return self.opened().browse(limit, int(after or 0))

    async def claim(self, positions: Sequence[str]) -> Sequence[QueueMessage]:
        await self.backend.answer()
        messages = self.opened().take(len(positions), self.options.lease, [int(position) for position in positions])
        self.held.update({message.message_context[0]: message for message in messages})
        return messages

    async def backlog(self) -> Backlog:
        if self.store is None:
            await self.connect()
        return self.opened().backlog()

    async def seek(self, to: str | datetime) -> None:
        if self.store is None:
            await self.connect()
        self.opened().move(to)

    def transaction_problem(self, producer: Producer) -> str | None:
        same = isinstance(producer, ReferenceProducer) and producer.options.path == self.options.path
        return None if same else "it is in another file"

    async def transact(
        self, messages: Sequence[QueueMessage], outputs: Sequence[tuple[Producer, Sequence[Record]]]
    ) -> Transacted:
        await self.backend.answer()
        refused = refusals(outputs)
        if refused:
            return Transacted(refused=refused)
        lost = self.opened().settle_and_add(messages, [(producer.name, records) for producer, records in outputs])
        if not lost:
            self.forget(messages)
        return Transacted(lost=lost)

    async def shutdown(self) -> None:
        store, self.store = self.store, None
        if store is not None:
            store.requeue(list(self.held.values()), 0.0)
            self.held.clear()
            store.close()


class ReferenceProducer(Producer):
    """Stores records; one that is too large is refused."""

    options: ReferenceOptions

    def __init__(self, name: str, options: ReferenceOptions) -> None:
        super().__init__(name, options)
        self.backend = Server(options.path)
        self.store: Store | None = None

    def open(self) -> Store:
        return Store(self.options.path, self.name, self.options.group)

    async def connect(self) -> None:
        await self.backend.connect()
        if self.store is None:
            self.store = self.open()

    def opened(self) -> Store:
        if self.store is None:
            raise ConnectorError(f"the producer of {self.name!r} is not open")
        return self.store

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        await self.backend.answer()
        answers = [self.refusal(record) for record in records]
        self.opened().add([record for record, error in zip(records, answers, strict=True) if error is None])
        return answers

    async def create(self) -> Created:
        await self.backend.connect()
        existed = Path(self.options.path).exists()
        self.open().close()
        return Created(existed, f"a queue in {self.options.path}")

    def refusal(self, record: Record) -> ProduceError | None:
        if record.options:
            return ProduceError(f"unknown options {sorted(record.options)}", retriable=False)
        if len(record.message or b"") > MOST_BYTES:
            return ProduceError(f"a body has at most {MOST_BYTES} bytes", retriable=False)
        return None

    async def shutdown(self) -> None:
        store, self.store = self.store, None
        if store is not None:
            store.close()


def refusals(outputs: Sequence[tuple[Producer, Sequence[Record]]]) -> list[Refusal]:
    """What the producers of some outputs refuse."""
    return [
        Refusal(output, place, error)
        for output, (producer, records) in enumerate(outputs)
        for place, record in enumerate(records)
        if isinstance(producer, ReferenceProducer) and (error := producer.refusal(record)) is not None
    ]
