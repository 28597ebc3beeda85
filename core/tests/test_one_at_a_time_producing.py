"""Producers written one message at a time, as the reference documents them: what counts as stored."""

# ruff: noqa: ARG002  (a connector is given what the contract says, whether it needs it or not)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from core.tests.foreign import RowProducer, Table, producer_of, run

from penstock.errors import ConnectorError, FatalConnectorError, NotConnected, ProduceError
from penstock.message import Record
from penstock.queues.adapters import make_producer


class Answering(RowProducer):
    """Returns what the body says."""

    def produce(self, queue_name: str, message: bytes, message_context: Any, **options: Any) -> Any:
        self.table.ask("produce", message.decode())
        return {b"yes": True, b"no": False, b"nothing": None}[message]


class CallbackProducer(RowProducer):
    """The reference's other kind of producer: its True means "sent", and a callback says "stored"."""

    callback_delivery = True


def test_a_producer_that_confirms_by_callbacks_is_refused() -> None:
    """Taken at its word, it would have inputs acknowledged whose outputs are not stored."""
    table = Table()

    async def main() -> None:
        producer = make_producer(CallbackProducer, "rows", {"table": table})
        with pytest.raises(FatalConnectorError, match=r"^CallbackProducer confirms by callbacks, .* derive it from"):
            await producer.connect()
        await producer.shutdown()

    run(main())

    assert table.asked == ["make", "shutdown"]


def test_a_record_is_produced_with_all_it_has() -> None:
    """By queue name, body, no context, and the rest as keywords, as the reference's connectors take them."""
    table = Table()
    record = Record(b"yes", b"k", [("h", b"v")], 2.5, {"priority": 3})

    async def main() -> None:
        producer = await producer_of(table)
        assert await producer.produce([Record(b"plain"), record]) == [None, None]
        await producer.shutdown()

    run(main())

    assert table.asked[1:-1] == [
        "produce rows b'plain' None {}",
        "produce rows b'yes' None {'priority': 3, 'key': b'k', 'headers': [('h', b'v')], 'delay': 2.5}",
    ]
    assert record.options == {"priority": 3}
    assert len(table.threads) == 1


def test_only_true_means_stored() -> None:
    """False, and nothing at all, mean that the record is sent again; the others of the batch are not."""

    async def main() -> Sequence[ProduceError | None]:
        producer = await producer_of(Table(), Answering)
        results = await producer.produce([Record(b"yes"), Record(b"no"), Record(b"nothing"), Record(b"yes")])
        await producer.shutdown()
        return results

    first, second, third, fourth = run(main())

    assert (first, fourth) == (None, None)
    assert str(second) == "Answering.produce() returned False, not True"
    assert str(third) == "Answering.produce() returned None, not True"
    assert second.retriable
    assert third.retriable


@pytest.mark.parametrize(
    ("error", "text", "retriable"),
    [
        (ValueError("boom"), "Answering.produce() raised ValueError: boom", True),
        (ConnectorError("refused"), "refused", True),
        (ProduceError("queue full"), "queue full", True),
        (ProduceError("too large", retriable=False), "too large", False),
    ],
)
def test_what_produce_raises_is_the_fate_of_that_record_alone(error: Exception, text: str, retriable: bool) -> None:
    """Those before and after it in the batch are stored."""
    table = Table()
    table.failures["produce no"] = [error]

    async def main() -> Sequence[ProduceError | None]:
        producer = await producer_of(table, Answering)
        results = await producer.produce([Record(b"yes"), Record(b"no"), Record(b"yes")])
        await producer.shutdown()
        return results

    first, second, third = run(main())

    assert (first, str(second), second.retriable, third) == (None, text, retriable, None)
    assert table.count("produce") == 3


def test_a_connection_lost_at_the_first_record_is_the_queues_business() -> None:
    """Nothing is stored: connect again, and send all of them."""
    table = Table()
    table.failures["produce yes"] = [ConnectionError("gone")]

    async def main() -> None:
        producer = await producer_of(table, Answering)
        with pytest.raises(NotConnected):
            await producer.produce([Record(b"yes"), Record(b"no")])
        await producer.connect()
        assert (await producer.produce([Record(b"yes")])) == [None]
        await producer.shutdown()

    run(main())

    assert table.asked == ["make", "produce yes", "shutdown", "make", "produce yes", "shutdown"]


def test_a_connection_lost_half_way_sends_again_what_is_not_stored() -> None:
    """The records before it are stored, and must not be stored twice for the sake of the rest."""
    table = Table()
    table.failures["produce no"] = [ConnectionError("gone")]

    async def main() -> Sequence[ProduceError | None]:
        producer = await producer_of(table, Answering)
        results = await producer.produce([Record(b"yes"), Record(b"no"), Record(b"yes"), Record(b"yes")])
        await producer.shutdown()
        return results

    first, *rest = run(main())

    assert first is None
    assert [(type(each), each.retriable) for each in rest] == [(ProduceError, True)] * 3
    assert table.count("produce") == 2


def test_a_fatal_error_stops_the_producer() -> None:
    """Wrong credentials do not become right by sending again."""
    table = Table()
    table.failures["produce yes"] = [FatalConnectorError("not authorised")]

    async def main() -> None:
        producer = await producer_of(table, Answering)
        with pytest.raises(FatalConnectorError, match="not authorised"):
            await producer.produce([Record(b"yes")])
        await producer.shutdown()
        with pytest.raises(ConnectorError, match=r"^the producer is shut down$"):
            await producer.produce([Record(b"yes")])

    run(main())
