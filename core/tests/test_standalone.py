"""A queue is opened from its settings alone, without an engine or a file."""

from __future__ import annotations

import asyncio

import pytest

from penstock.capabilities import Capabilities
from penstock.envelope import wrap
from penstock.errors import ConfigError
from penstock.message import QueueMessage, Record
from penstock.standalone import InputQueue, make_consumer, make_producer, open_envelopes, resolve

SETTINGS = {"connector": "memory", "value": "orders", "config": {"namespace": "standalone"}, "serializer": "json"}


def test_a_queue_is_resolved_from_its_keys() -> None:
    """A name is not needed; the role decides which side of the connector is found."""
    queue = resolve(SETTINGS, "input")

    assert (queue.value, queue.role, queue.connector) == ("orders", "input", "memory")
    assert resolve(SETTINGS, "output").connector_class is not queue.connector_class


def test_a_mistake_is_refused_by_its_key() -> None:
    """As in a configuration."""
    with pytest.raises(ConfigError, match="namspace"):
        resolve({**SETTINGS, "config": {"namspace": "x"}}, "input")


def test_connectors_and_queues_work_without_an_engine() -> None:
    """A record that a producer sends comes out of the queue, decoded."""

    async def main() -> object:
        producer = make_producer(resolve(SETTINGS, "output"))
        await producer.connect()
        assert await producer.produce([Record(b'{"n": 1}')]) == [None]
        await producer.shutdown()
        async with InputQueue(resolve(SETTINGS, "input")) as queue:
            (message,) = await queue.consume(1, 5.0)
            await queue.on_success([message])
            return queue.decode(message.message)

    assert asyncio.run(main()) == {"n": 1}


def test_a_consumer_is_made_without_being_connected() -> None:
    """Its caller decides when."""
    consumer = make_consumer(resolve(SETTINGS, "input"))

    asyncio.run(consumer.shutdown())


@pytest.mark.parametrize(
    ("capabilities", "key"), [(Capabilities(), b"k"), (Capabilities(True, True, tombstones=True), None)]
)
def test_envelopes_are_opened_where_the_connector_needs_them(capabilities: Capabilities, key: bytes | None) -> None:
    """A backend that carries headers, keys and tombstones holds no envelopes, whatever its bodies look like."""
    message = QueueMessage(1, wrap(Record(b"body", b"k")))

    open_envelopes([message], capabilities)

    assert message.key == key
