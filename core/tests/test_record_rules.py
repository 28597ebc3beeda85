"""What a connector declares about records is checked once, by the core, before a record reaches it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from penstock.capabilities import Capabilities
from penstock.config.files import load
from penstock.config.model import QueueConfig
from penstock.config.resolve import registry_for, resolve_queue
from penstock.connectors import Consumer, Producer, Transacted
from penstock.errors import FunctionError, ProduceError
from penstock.message import QueueMessage, Record
from penstock.queues.queue import InputQueue, OutputQueue
from penstock.specs import ConnectorSpec, standard_profiles


class Stored(Producer):
    """Takes every record that reaches it."""

    async def connect(self) -> None: ...

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        self.options["stored"].extend(records)
        return [None] * len(records)

    async def shutdown(self) -> None: ...


class Transacting(Consumer):
    """Commits every transaction that reaches it."""

    async def connect(self) -> None: ...

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:  # noqa: ARG002
        return []

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None: ...

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int | None: ...

    async def transact(self, messages: Any, outputs: Any) -> Transacted:  # noqa: ARG002
        return Transacted()

    async def shutdown(self) -> None: ...


def queue(role: Any = "output", **declared: Any) -> Any:
    """An open queue on a connector that declares this, and what has reached it."""
    spec = ConnectorSpec(
        "acme",
        consumer=f"{__name__}:Transacting",
        producer=f"{__name__}:Stored",
        capabilities=Capabilities(headers=True, keys=True, tombstones=True),
        **declared,
    )
    stored: list[Record] = []
    configuration = load([QueueConfig(name="q", connector=spec, config={"stored": stored})])
    resolved = resolve_queue(configuration, "q", role, registry=registry_for(configuration))
    return (InputQueue if role == "input" else OutputQueue)(resolved), resolved.options["stored"]


def test_an_unknown_option_of_an_output_is_an_error_of_the_function() -> None:
    """It names queue, option, connector, and what there is; nothing was sent by then."""
    out, _stored = queue(record_options=frozenset({"priority", "ttl"}))

    out.check(Record(b"", options={"ttl": 1, "priority": 2}))
    out.check(Record(b""))
    with pytest.raises(
        FunctionError,
        match=r"for queue 'q'.* the option 'tll', which connector 'acme' does not know; it knows 'priority', 'ttl';",
    ):
        out.check(Record(b"", options={"ttl": 1, "tll": 2}))
    with pytest.raises(FunctionError, match="it knows none"):
        queue(record_options=frozenset())[0].check(Record(b"", options={"ttl": 1}))


def test_a_connector_that_declares_nothing_checks_for_itself() -> None:
    """All its records reach it."""
    out, stored = queue()
    records = [Record(bytes(1_000_000), options={"any": 1})]

    out.check(records[0])
    assert asyncio.run(out.produce(records)) == ()
    assert stored == records


def test_a_record_that_must_not_be_sent_reaches_no_producer() -> None:
    """Too large with key and headers, or with an unknown option; its neighbours are stored in their order."""
    out, stored = queue(record_options=frozenset({"ttl"}), max_record_bytes=10)
    too_large, unknown = Record(b"12345", b"key", [("h", b"12")]), Record(b"", options={"tll": 1})
    good = [Record(b"1234567890"), Record(b"", options={"ttl": 1})]

    errors = asyncio.run(out.produce([too_large, good[0], unknown, good[1]]))

    assert stored == good
    assert [error is not None and not error.retriable for error in errors] == [True, False, True, False]
    assert str(errors[0]) == "11 bytes with key and headers; 'acme' takes at most 10"
    assert "'tll'" in str(errors[2])
    assert len(asyncio.run(out.produce([too_large]))) == 1
    assert stored == good


def test_a_transaction_with_such_a_record_is_not_made() -> None:
    """The answer names the output and the record."""
    source, _ = queue("input")
    out, _stored = queue(max_record_bytes=3)
    records = [Record(b"123"), Record(b"1234")]

    done = asyncio.run(source.transact([], [(out, records[:1]), (out, records)]))

    assert [(refusal.output, refusal.record, refusal.error.retriable) for refusal in done.refused] == [(1, 1, False)]
    assert asyncio.run(source.transact([], [(out, records[:1])])).committed


def test_the_standard_profiles_of_a_connector() -> None:
    """One for each way to use it; the one for dead letters passes bytes through."""
    profiles = {profile.name: profile for profile in standard_profiles("acme", "at Acme", also={"msgpack": "msgpack"})}

    assert list(profiles) == ["acme", "acme-pydantic", "acme-msgpack", "acme-batch", "acme-dlq"]
    assert {profile.connector for profile in profiles.values()} == {"acme"}
    assert profiles["acme-msgpack"].serializer == "msgpack"
    assert profiles["acme-batch"].batch
    dlq = profiles["acme-dlq"]
    assert (dlq.serializer, dlq.model_handler, dlq.data_model) == (None, None, None)
    assert all(profile.summary for profile in profiles.values())
