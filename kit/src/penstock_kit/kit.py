"""What a test works with: queues of its own, opened by name through a configuration, and the backend fixture."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, NoReturn

import pytest

from penstock.capabilities import Capabilities
from penstock.installed import find_connector
from penstock.message import QueueMessage, Record
from penstock.options import Role
from penstock.specs import ConnectorSpec
from penstock.standalone import InputQueue, OutputQueue, ResolvedQueue, make_consumer, make_producer, resolve
from penstock_kit import limits
from penstock_kit.at_most_once import Listeners
from penstock_kit.backend_fixture import FACILITIES, BackendFixture
from penstock_kit.broken import Broken, must
from penstock_kit.report import Outcome
from penstock_kit.watched import FULL_HAND, SHUTDOWN_LIMIT, WatchedConsumer, WatchedProducer, call

Note = Callable[[Outcome, str], None]


class Kit:
    """One test's access to a connector.

    Args:
        connector: The connector's name in a configuration.
        backend fixture: How its backend is reached.
        test: The test's name, from which the names of its queues are made.
        note: Called with an `Outcome` and a reason if a test proves nothing; for the matrix.

    Attributes:
        spec, capabilities: The connector's spec, and its capabilities.
        listens, listeners: Whether consumers are open before anything is sent, and those, see `listen`.
        roles: The sides that the connector has.
        queue: The name of the test's queue.
        limit: Seconds after which the whole test fails.
    """

    def __init__(self, connector: str, backend: BackendFixture, test: str, note: Note | None = None) -> None:
        self.connector = connector
        self.backend = backend
        self.timeout = backend.timeout
        self.spec: ConnectorSpec = find_connector(connector)
        self.capabilities: Capabilities = self.spec.capabilities
        self.limit = 30.0 + 8 * backend.timeout
        self.roles = _roles(self.spec)
        self._note = note
        self._test = test
        self._created: set[str] = set()
        self.listens = backend.at_most_once
        self.listeners = Listeners(self.make_consumer)
        slug = re.sub(r"[^a-z0-9]+", "-", test.lower().removeprefix("test_"))[:40].strip("-")
        self.queue = f"{slug}-{uuid.uuid4().hex[:8]}"

    # -- running

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a test's coroutine for at most `limit` seconds."""

        async def main_and_close() -> None:
            try:
                await main()
            finally:
                await self.listeners.close()

        limits.run(main_and_close, self.limit)

    def needs(self, facility: str) -> None:
        """Skip the test, with the backend fixture's reason, if the fixture cannot provide something.

        Raises:
            Broken: the fixture neither provides it nor says why not.
        """
        if (reason := self._excuse(facility)) is not None:
            self.not_provable(reason)
        if self.backend.offers(facility):
            return
        reason = self.backend.cannot.get(facility)
        if reason is None:
            names = FACILITIES[facility]
            methods = all(callable(getattr(BackendFixture, name)) for name in names)
            what = " and ".join(f"{name}()" for name in names) if methods else " or ".join(names)
            raise Broken(
                f"the backend fixture neither offers {what} nor says why not\n    look at: "
                f"{type(self.backend).__name__}: write {what}, or cannot = {{{facility!r}: 'because …'}}"
            )
        self.not_provable(reason)

    def _excuse(self, facility: str) -> str | None:
        """The backend fixture's reason why this test alone cannot have a facility.

        Raises:
            Broken: `cannot` has a key that names neither a facility nor one of a test.
        """
        for key in self.backend.cannot:
            known, _, test = key.partition(":")
            if known not in FACILITIES or (test and not _is_test(test)):
                raise Broken(
                    f"the backend fixture's `cannot` names {key!r}, which is not known\n    look at: "
                    f"{type(self.backend).__name__}: write one of {', '.join(FACILITIES)}, or 'FACILITY:test_…' for "
                    "one test"
                )
        return self.backend.cannot.get(f"{facility}:{self._test}")

    def not_provable(self, reason: str) -> NoReturn:
        """Skip the test because it proves nothing on this backend, and show that in the matrix."""
        self._prove_nothing("not provable", reason)

    def not_promised(self, reason: str) -> NoReturn:
        """Skip the test because the connector does not make this promise."""
        self._prove_nothing("not promised", reason)

    def not_declared(self, reason: str) -> NoReturn:
        """Skip the test because the connector does not declare its capability."""
        self._prove_nothing("not declared", reason)

    def _prove_nothing(self, outcome: Outcome, reason: str) -> NoReturn:
        if self._note is not None:
            self._note(outcome, reason)
        pytest.skip(f"{outcome}: {reason}")

    def needs_output(self) -> None:
        """Skip a test of the producer alone, if the connector is an input only, whose producer is of the tests."""
        if "output" not in self.roles:
            self.not_promised("it is an input only; the producer is of the tests")

    def for_probing(self) -> Kit:
        """A kit with a short timeout, to probe a capability that is not declared and so is probably missing."""
        kit = Kit(self.connector, self.backend, self._test, self._note)
        kit.timeout = min(self.timeout, max(1.0, 3 * self.backend.idle_timeout))
        return kit

    # -- queues

    def config(self, queue: str | None = None, group: str | None = None, **over: Any) -> dict[str, Any]:
        """The settings of a queue. Creates the queue before its first use."""
        queue = queue or self.queue
        if queue not in self._created:
            self._created.add(queue)
            self.backend.create(queue)
        settings = self.backend.config(queue, group, **over)
        named = str(settings.get("connector", self.connector)).rpartition(":")[2]
        must(
            named == self.connector,
            f"a suite is about one connector; this one is about {self.connector!r}, but its backend fixture configures "
            f"{named!r}",
            '`connector` of the suite, and "connector" in what config() of the backend fixture returns',
        )
        must(
            "output" in self.roles or "producer" in settings,
            f"the kit puts messages into queues; {self.connector!r} is an input only, and its backend fixture names no "
            "producer of the tests",
            'config() of the backend fixture: "producer": "my_tests.rows:RowWriter", the path of your class',
        )
        return settings

    def resolve(
        self, role: Role, settings: Mapping[str, Any], environment: Mapping[str, str] = os.environ
    ) -> ResolvedQueue:
        """Resolve settings in the way of every configuration."""
        return resolve(settings, role, environment)

    def make_consumer(self, queue: str | None = None, group: str | None = None, **over: Any) -> WatchedConsumer:
        """A consumer that is not connected."""
        return self.make_consumer_of(self.config(queue, group, **over))

    def make_consumer_of(self, settings: Mapping[str, Any]) -> WatchedConsumer:
        """A consumer that is not connected, with settings from the backend fixture."""
        return WatchedConsumer(make_consumer(self.resolve("input", settings)), self.timeout, self.backend.idle_timeout)

    def make_producer(self, queue: str | None = None, **over: Any) -> WatchedProducer:
        """A producer that is not connected."""
        return self.make_producer_of(self.config(queue, **over))

    def make_producer_of(self, settings: Mapping[str, Any]) -> WatchedProducer:
        """A producer that is not connected, with settings from the backend fixture."""
        return WatchedProducer(make_producer(self.resolve("output", settings)), self.timeout)

    def refusing(self) -> tuple[dict[str, Any], Record]:
        """The settings of the test's queue, and a record that the queue refuses."""
        self.config()
        return self.backend.refusing(self.queue)

    @asynccontextmanager
    async def input_queue(
        self, on_reconnect: Callable[[], None] | None = None, **over: Any
    ) -> AsyncIterator[InputQueue]:
        """The test's queue as an engine reads it: it connects again by itself. Not open yet."""
        queue = InputQueue(self.resolve("input", self.config(**over)), on_reconnect=on_reconnect)
        try:
            yield queue
        finally:
            async with call("shutdown", SHUTDOWN_LIMIT, "what shutdown waits for: it must be bounded"):
                await queue.close()

    @asynccontextmanager
    async def output_queue(self, **over: Any) -> AsyncIterator[OutputQueue]:
        """The test's queue as an engine writes to it: it connects again by itself. Not open yet."""
        await self.listen()
        queue = OutputQueue(self.resolve("output", self.config(**over)))
        try:
            yield queue
        finally:
            async with call("shutdown", SHUTDOWN_LIMIT, "what shutdown waits for: it must be bounded"):
                await queue.close()

    @asynccontextmanager
    async def consumer(
        self, queue: str | None = None, group: str | None = None, **over: Any
    ) -> AsyncIterator[WatchedConsumer]:
        """A connected consumer. It is shut down at the end, unless the test has done so."""
        consumer = self.listeners.take(queue or self.queue)
        try:
            if consumer is None:
                consumer = self.make_consumer(queue, group, **over)
                await consumer.connect()
            yield consumer
        finally:
            self.listeners.leave(queue or self.queue)
            if consumer is not None:
                await consumer.shutdown()

    @asynccontextmanager
    async def browser(self) -> AsyncIterator[WatchedConsumer]:
        """A consumer that is not connected, as tools have it that only look; shut down at the end."""
        consumer = self.make_consumer()
        try:
            yield consumer
        finally:
            await consumer.shutdown()

    @asynccontextmanager
    async def producer(self, queue: str | None = None, **over: Any) -> AsyncIterator[WatchedProducer]:
        """A connected producer. It is shut down at the end, unless the test has done so."""
        await self.listen(queue)
        producer = self.make_producer(queue, **over)
        try:
            await producer.connect()
            yield producer
        finally:
            await producer.shutdown()

    async def listen(self, queue: str | None = None) -> None:
        """Open the consumer that the test opens next, where a message does not wait for one."""
        if self.listens:
            await self.listeners.listen(queue or self.queue)

    async def settle_in(self, consumers: Sequence[WatchedConsumer], producer: WatchedProducer) -> None:
        """Wait until each of several consumers gets messages, so that all of them share the messages that follow.

        Sends messages of its own, and settles them.
        """
        waiting, keys = set(range(len(consumers))), itertools.count()
        deadline = monotonic() + 2 * self.timeout
        while waiting and monotonic() < deadline:
            names = [b"settling-in-%d" % next(keys) for _ in range(4 * len(consumers))]
            await producer.send([self.record(name, key=name) for name in names])
            handed = 0
            while handed < len(names) and monotonic() < deadline:
                found = await asyncio.gather(*(each.consume(1, self.backend.idle_timeout) for each in consumers))
                for number, messages in enumerate(found):
                    if messages:
                        waiting.discard(number)
                        handed += len(messages)
                        await consumers[number].succeed(messages)
        must(
            not waiting,
            f"consumers of one queue share its messages; of {len(consumers)}, {len(waiting)} got none at all",
            "how a consumer joins the others of its queue, and whether one takes away more than it was asked for",
        )

    def record(self, body: bytes, key: bytes | None = None) -> Record:
        """A record, with the key if the connector has keys."""
        return Record(body, key if self.capabilities.keys else None)

    def held(self, body: bytes, key: bytes = b"key") -> Record:
        """A record that is to be in flight together with others of its key; it has one of its own if it must."""
        return self.record(body, key + b"-" + body if self.backend.holds_up_keys else key)

    @property
    def held_come_in_order(self) -> bool:
        """Whether records of `held` with one key come in the order in which they were produced."""
        return self.capabilities.ordering != "none" and not self.backend.holds_up_keys

    async def take(self, consumer: WatchedConsumer, count: int, at_once: int = FULL_HAND) -> list[QueueMessage]:
        """Consume so many messages of few keys. They are settled as they come if others of their keys wait for that."""
        if not self.backend.holds_up_keys:
            return await consumer.receive(count, at_once)
        messages: list[QueueMessage] = []
        deadline = monotonic() + self.timeout
        while len(messages) < count and (left := deadline - monotonic()) > 0:
            found = await consumer.consume(min(at_once, count - len(messages)), left)
            await consumer.succeed(found)
            messages += found
        return messages

    async def send(self, *records: Record | bytes, queue: str | None = None, **over: Any) -> None:
        """Open a producer, produce, and close it. Plain bytes are a record's body."""
        async with self.producer(queue, **over) as producer:
            await producer.send([each if isinstance(each, Record) else Record(each) for each in records])


def bodies(messages: Any) -> list[bytes | None]:
    """The bodies of messages, or of records."""
    return [message.message for message in messages]


def numbered(count: int, prefix: str = "") -> list[bytes]:
    """Bodies that differ: b"0", b"1", …"""
    return [f"{prefix}{number}".encode() for number in range(count)]


def by_body(messages: list[QueueMessage]) -> dict[bytes | None, QueueMessage]:
    """Messages by their bodies; the last of several with the same body."""
    return {message.message: message for message in messages}


def _roles(spec: ConnectorSpec) -> Sequence[Role]:
    sides: Mapping[Role, str | None] = {"input": spec.consumer, "output": spec.producer}
    return [role for role, side in sides.items() if side is not None]


def _is_test(name: str) -> bool:
    from penstock_kit.suite import ConnectorConformance  # it imports this module

    return name.startswith("test_") and hasattr(ConnectorConformance, name)
