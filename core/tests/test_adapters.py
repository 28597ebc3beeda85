"""Every accepted form of connector, as the asynchronous, batch-wise contract."""

# ruff: noqa: ARG002  (a connector is given what the contract says, whether it needs it or not)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from core.tests.adapted import (
    OwnConsumer,
    OwnProducer,
    SlowConsumer,
    SlowProducer,
)

from penstock.connectors import BlockingConsumer, Producer
from penstock.errors import ConfigError, ProduceError
from penstock.message import QueueMessage, Record
from penstock.queues.adapters import make_consumer, make_producer

pytestmark = pytest.mark.usefixtures("no_thread_is_left_behind")

# -- asynchronous connectors


def test_an_asynchronous_connector_is_used_as_it_is() -> None:
    """No wrapper between the engine and it."""
    consumer, producer = make_consumer(OwnConsumer, "q", {"a": 1}), make_producer(OwnProducer, "q", {"a": 1})

    assert (type(consumer), consumer.name, consumer.options) == (OwnConsumer, "q", {"a": 1})
    assert (type(producer), producer.name, producer.options) == (OwnProducer, "q", {"a": 1})


# -- what is not a connector


class NoConnector:
    """Has nothing of either."""


class HalfConsumer:
    """Cannot requeue."""

    def consume(self) -> None: ...
    def delete(self, message_context: Any) -> None: ...
    def shutdown(self) -> None: ...


class AsyncOneAtATime:
    """Written for no contract: one message at a time, and async."""

    async def consume(self) -> None: ...
    def on_success(self, message_context: Any) -> None: ...
    def on_fail(self, message_context: Any) -> None: ...
    def shutdown(self) -> None: ...
    async def produce(self, queue_name: str, message: bytes, message_context: Any) -> bool:
        return True


class Unfinished(BlockingConsumer):
    """Derived, as its author has heard, and then written one message at a time."""

    def consume(self) -> None: ...  # type: ignore[override]
    def on_success(self, message_context: Any) -> None: ...
    def on_fail(self, message_context: Any) -> None: ...  # type: ignore[override]
    def shutdown(self) -> None: ...


class UnfinishedProducer(Producer):
    """Lacks two."""

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        return [None for _ in records]


class AsyncBlocking(SlowConsumer):
    """Derived from the form that it is not."""

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None: ...  # type: ignore[override]


class AsyncBlockingProducer(SlowProducer):
    """Derived from the form that it is not."""

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:  # type: ignore[override]
        return [None for _ in records]


class WithoutHost:
    """Its constructor takes what the adapter does not give, or too little."""

    def __init__(self, queue_name: str, config: dict[str, Any]) -> None: ...
    def consume(self) -> None: ...
    def on_success(self, message_context: Any) -> None: ...
    def on_fail(self, message_context: Any) -> None: ...
    def shutdown(self) -> None: ...


class WithAddress:
    """Its constructor wants more than the adapter gives."""

    def __init__(self, queue_name: str, address: str, **settings: Any) -> None: ...
    def produce(self, queue_name: str, message: bytes, message_context: Any) -> bool:
        return True

    def shutdown(self) -> None: ...


DERIVE = "derive it from penstock.{0} or penstock.Blocking{0}"


@pytest.mark.parametrize(
    ("connector_class", "problem"),
    [
        (
            NoConnector,
            f"NoConnector is not a consumer: {DERIVE.format('Consumer')}, or give it consume, on_success, on_fail, "
            f"shutdown; it lacks consume",
        ),
        (
            HalfConsumer,
            f"HalfConsumer is not a consumer: {DERIVE.format('Consumer')}, or give it consume, delete, on_fail, "
            f"shutdown; it lacks on_fail",
        ),
        (
            OwnProducer,
            f"OwnProducer is not a consumer: {DERIVE.format('Consumer')}, or give it consume, on_success, on_fail, "
            f"shutdown; it lacks consume",
        ),
        (
            AsyncOneAtATime,
            f"AsyncOneAtATime is not a consumer: its consume is async, which needs a batch-wise class; "
            f"{DERIVE.format('Consumer')}",
        ),
        (
            Unfinished,
            "Unfinished is not a complete consumer: it lacks connect; add what is missing, or, if it moves one message "
            "at a time, derive it from no class of Penstock",
        ),
        (
            AsyncBlocking,
            "AsyncBlocking: its on_fail is async, which penstock.BlockingConsumer has not; derive it from "
            "penstock.Consumer, and write all its methods so",
        ),
        (
            WithoutHost,
            "WithoutHost is not a consumer: it is made as WithoutHost(queue_name=…, host=…, config=…), and its "
            "constructor says: got an unexpected keyword argument 'host'",
        ),
    ],
)
def test_a_class_that_is_no_consumer_is_refused_before_it_is_made(connector_class: type, problem: str) -> None:
    """The error names the class, what it lacks, and what to derive it from."""
    with pytest.raises(ConfigError) as caught:
        make_consumer(connector_class, "q", {})

    assert str(caught.value) == f"{connector_class.__module__}.{problem}"


@pytest.mark.parametrize(
    ("connector_class", "problem"),
    [
        (
            NoConnector,
            f"NoConnector is not a producer: {DERIVE.format('Producer')}, or give it produce, shutdown; it lacks "
            "produce",
        ),
        (
            AsyncOneAtATime,
            f"AsyncOneAtATime is not a producer: its produce is async, which needs a batch-wise class; "
            f"{DERIVE.format('Producer')}",
        ),
        (
            UnfinishedProducer,
            "UnfinishedProducer is not a complete producer: it lacks connect, shutdown; add what is missing, or, if it "
            "moves one message at a time, derive it from no class of Penstock",
        ),
        (
            AsyncBlockingProducer,
            "AsyncBlockingProducer: its produce is async, which penstock.BlockingProducer has not; derive it from "
            "penstock.Producer, and write all its methods so",
        ),
        (
            WithAddress,
            "WithAddress is not a producer: it is made as WithAddress(queue_name=…, host=…, config=…), and its "
            "constructor says: missing a required argument: 'address'",
        ),
    ],
)
def test_a_class_that_is_no_producer_is_refused_before_it_is_made(connector_class: type, problem: str) -> None:
    """The error names the class, what it lacks, and what to derive it from."""
    with pytest.raises(ConfigError) as caught:
        make_producer(connector_class, "q", {})

    assert str(caught.value) == f"{connector_class.__module__}.{problem}"
