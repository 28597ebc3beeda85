"""What the tests of this plugin share: connectors on the test servers, opened and closed."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.servers.tls_front import TlsFront

from penstock.connectors import Consumer
from penstock_azure.servicebus.consumer import ServiceBusConsumer
from penstock_azure.servicebus.options import ServiceBusOptions
from penstock_azure.servicebus.producer import ServiceBusProducer
from penstock_azure.storage_queue.consumer import StorageQueueConsumer
from penstock_azure.storage_queue.options import StorageQueueOptions
from penstock_azure.storage_queue.producer import StorageQueueProducer


@pytest.fixture(autouse=True)
def no_ambient_azure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test sets its own environment."""
    for variable in ("AZURE_STORAGE_CONNECTION_STRING", "AZURE_SERVICE_BUS_CONNECTION_STRING"):
        monkeypatch.delenv(variable, raising=False)


@asynccontextmanager
async def opened(connector: Any) -> AsyncIterator[Any]:
    """Connect, and shut down at the end."""
    try:
        await connector.connect()
        yield connector
    finally:
        await connector.shutdown()


class Pair:
    """The two sides of a queue: `async with pair.producer() as producer, pair.consumer() as consumer`."""

    def __init__(self, consumer: Any, producer: Any, options: Any, queue: str, **given: Any) -> None:
        self.queue = queue
        self._consumer, self._producer, self._options, self._given = consumer, producer, options, given

    def options(self, **over: Any) -> Any:
        """Options for the test server."""
        return self._options(**{"timeout": 15.0, **self._given, **over})

    def consumer(self, **over: Any) -> Any:
        """A consumer that is open."""
        return opened(self._consumer(self.queue, self.options(**over)))

    def producer(self, **over: Any) -> Any:
        """A producer that is open."""
        return opened(self._producer(self.queue, self.options(**over)))


@pytest.fixture
def storage(azurite_server: Any) -> Pair:
    """A Storage Queue of this test's own, on Azurite."""
    given = {"connection_string": azurite_server.connection_string(), "create": True, "poll_interval": 0.1}
    return Pair(StorageQueueConsumer, StorageQueueProducer, StorageQueueOptions, azurite_server.queue(), **given)


@pytest.fixture
def bus(servicebus_server: Any) -> Pair:
    """A queue of this test's own, on the double of Service Bus."""
    given = {"connection_string": servicebus_server.connection_string()}
    return Pair(ServiceBusConsumer, ServiceBusProducer, ServiceBusOptions, servicebus_server.queue(), **given)


@pytest.fixture
def consumed() -> Callable[..., Any]:
    """`await consumed(consumer, 3)`: consume until so many messages are there, at most 60 s."""

    async def consume(consumer: Consumer, count: int) -> list[Any]:
        messages: list[Any] = []
        for _look in range(30):
            if len(messages) >= count:
                return messages
            messages += await consumer.consume(count - len(messages), 2.0)
        raise AssertionError(f"{len(messages)} of {count} messages came")

    return consume


LOADS = {
    "test_a_closed_producer_leaves_nothing_behind",
    "test_a_message_that_always_fails_does_not_starve_the_others",
    "test_calls_at_the_same_time_all_arrive",
    "test_consumers_share_a_queue",
    "test_consumers_that_fail_everything_lose_nothing",
    "test_every_message_arrives_once",
    "test_killed_workers_lose_nothing",
    "test_many_messages_are_settled_in_one_call",
    "test_many_queues_work_side_by_side",
    "test_outputs_of_killed_workers_are_all_there",
    "test_what_was_confirmed_survives_its_producer",
    "test_workers_that_join_leave_and_die_lose_nothing",
}
"""Of the kit's tests, those with hundreds of messages; on a Storage Queue each costs 8 ms of CPU."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the loads on a Storage Queue to `nox -s conformance`."""
    if os.environ.get("PENSTOCK_CONFORMANCE_FULL"):
        return
    for item in items:
        if "::TestStorageQueue::" in item.nodeid and item.name in LOADS:
            item.add_marker(pytest.mark.skip(reason="a load of single requests; `nox -s conformance` runs it"))


@pytest.fixture
def tls_front() -> Iterator[Callable[..., int]]:
    """`tls_front(certificate, port)`: a port that speaks TLS, and passes what it decrypts to `port` of the loopback."""
    front = TlsFront()

    def start(certificate: Any, port: int) -> int:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        return front.listen(context, "127.0.0.1", port)

    yield start
    front.close()
