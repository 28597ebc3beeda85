"""Serializers, model handlers and producers as py-volley has them, which derive from nothing of Penstock."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from core.tests.foreign import Foreign, RowConsumer, RowProducer, Table
from pydantic import BaseModel

from penstock import Engine, QueueConfig, Worker, WorkerSettings
from penstock.config.files import load
from penstock.config.resolve import registry_for, validate
from penstock.testing import Harness


class Order(BaseModel):
    """What the function gets and returns."""

    id: int


class Lines:
    """A serializer with the two methods, and no base class."""

    def serialize(self, message: Any) -> bytes:
        return repr(message).encode()

    def deserialize(self, message: bytes) -> Any:
        return {"id": int(message)}


class Models:
    """A model handler that takes an object apart without its schema."""

    def construct(self, message: Any, schema: Any) -> Any:
        return schema(**message)

    def deconstruct(self, model: Any) -> Any:
        return {"number": model.id}


class PlainProducer(Foreign):
    """Says that it stores data."""

    plain_data: ClassVar[bool] = True

    def produce(self, _queue_name: str, message: Any, _message_context: Any) -> bool:
        self.table.ask("produce", repr(message))
        return True


class Standing:
    """A name for what is installed as `json`."""

    stands_for: ClassVar[str] = "json"


def stored(output: QueueConfig, table: Table, **codec: Any) -> list[str]:
    """What the output's producer was given of two rows."""
    source = Table(b"1", b"2")
    queues = [QueueConfig(name="rows", consumer=RowConsumer, config={"table": source}, **codec), output]
    engine = Engine("rows", ["out"], queue_config=queues, metrics_port=None)

    @engine.stream_app
    def same(order: Any) -> list[tuple[str, Any]]:
        return [("out", Order(id=order if isinstance(order, int) else order.id))]

    Worker([engine], WorkerSettings(), drain=True).run()
    assert sorted(each for each in source.asked if "#" in each) == ["on_success #1", "on_success #2"]
    return table.asked[1:-1]


def test_a_serializer_and_a_model_handler_need_no_base_class() -> None:
    """Both directions; `deconstruct` gets the object alone."""
    table = Table()
    codec: dict[str, Any] = {"serializer": Lines, "model_handler": Models, "data_model": Order}

    told = stored(QueueConfig(name="out", producer=RowProducer, config={"table": table}, **codec), table, **codec)

    assert told == [f"""produce out b"{{'number': {n}}}" None {{}}""" for n in (1, 2)]


def test_a_producer_gets_what_a_foreign_handler_made_where_there_is_no_serializer() -> None:
    """As data, and not as bytes."""
    table = Table()
    output = QueueConfig(
        name="out", producer=RowProducer, serializer=None, model_handler=Models, data_model=Order,
        config={"table": table},
    )  # fmt: skip

    assert stored(output, table) == [f"produce out {{'number': {n}}} None {{}}" for n in (1, 2)]


def test_a_producer_that_stores_data_gets_the_data_of_a_model() -> None:
    """By Penstock's own model handler."""
    table = Table()
    output = QueueConfig(name="out", producer=PlainProducer, serializer=None, data_model=Order, config={"table": table})

    assert stored(output, table) == [f"produce {{'id': {n}}}" for n in (1, 2)]


@pytest.mark.parametrize("own", [{"producer": RowProducer, "model_handler": Models}, {"producer": PlainProducer}])
def test_a_harness_takes_what_a_worker_takes(own: dict[str, Any]) -> None:
    """Without a serializer, too: what the producer would get as data is sent, and read as the model of its queue."""
    output = QueueConfig(name="out", serializer=None, data_model=Order, config={"table": Table()}, **own)
    engine = Engine("rows", ["out"], queue_config=[QueueConfig(name="rows", connector="memory"), output])
    engine.stream_app(lambda number: ("out", Order(id=number)))

    with Harness(engine) as harness:
        harness.send("rows", 1)
        harness.run()
        [record] = harness.records("out")
        if own["producer"] is PlainProducer:
            assert harness.sent("out") == [Order(id=1)]

    assert record.message in (b'{"id":1}', b'{"number":1}')
    assert not record.headers


def test_a_class_may_stand_for_an_installed_name() -> None:
    """Its own attribute says so; a class derived from it is one like any other."""
    queues = {"out": QueueConfig(name="out", producer=RowProducer, serializer=Standing, config={"table": Table()})}
    derived = type("Derived", (Standing,), {})
    configuration = load(list(queues.values()))

    resolved = validate(configuration, "out", "output", registry=registry_for(configuration)).resolved
    assert resolved is not None
    assert resolved.serializer is not None
    assert resolved.serializer.format == "json"
    refused = load([queues["out"].model_copy(update={"serializer": derived})])
    (problem,) = validate(refused, "out", "output", registry=registry_for(refused)).problems
    assert "is Derived, which is not a class derived from" in str(problem)


def test_an_async_method_is_refused() -> None:
    """It would be called, and never awaited."""

    class Later(Lines):
        async def serialize(self, _message: Any) -> bytes:  # type: ignore[override]
            return b""

    configuration = load([QueueConfig(name="out", producer=RowProducer, serializer=Later, config={"table": Table()})])
    (problem,) = validate(configuration, "out", "output", registry=registry_for(configuration)).problems

    assert "its serialize is async" in str(problem)


def test_a_function_may_take_its_message_by_a_star() -> None:
    """Programs written for py-volley have both; neither is an error."""
    engine = Engine("rows", poll_interval_seconds=0.5, metrics_port=None)

    @engine.stream_app
    def count(*messages: Any) -> bool:
        return len(messages) == 1

    assert count("one") is True


def test_the_configuration_has_its_model() -> None:
    """As `volley.config` has it."""
    from penstock import config

    assert config.QueueConfig is QueueConfig  # type: ignore[attr-defined]
