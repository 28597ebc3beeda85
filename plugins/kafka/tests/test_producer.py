"""The producer on a broker: what is stored, in which order, and what is said about the rest."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from penstock.cli.main import main as penstock
from penstock.errors import ConfigError, ConnectorError, FatalConnectorError, NotConnected, ProduceError
from penstock.message import Record
from penstock_kafka.producer import KafkaProducer


async def connected(bench: Any, topic: str, **more: Any) -> KafkaProducer:
    """A producer that is connected; the caller shuts it down."""
    producer = KafkaProducer(topic, bench.options(**more))
    await producer.connect()
    return producer


def test_every_record_is_confirmed_and_stored_in_order(bench: Any) -> None:
    """One answer a record; calls that run at once are stored one after the other."""
    topic = bench.topic()

    async def main() -> list[Any]:
        producer = await connected(bench, topic)
        calls = [producer.produce([Record(b"%d-%d" % (call, i)) for i in range(100)]) for call in range(5)]
        results = await asyncio.gather(*calls)
        assert await producer.produce([]) == []
        await producer.shutdown()
        return results

    results = asyncio.run(main())

    assert results == [[None] * 100] * 5
    expected = [b"%d-%d" % (call, i) for call in range(5) for i in range(100)]
    assert [message.value() for message in bench.read(topic, 500)] == expected


def test_a_long_call_keeps_its_order_around_a_record_with_headers(bench: Any) -> None:
    """The client gets the records in several calls, and those around a special one singly."""
    topic = bench.topic()
    records = [Record(b"%d" % i) for i in range(2_500)]
    records[1_500].headers = [("special", b"")]
    assert bench.produce(topic, records) == [None] * 2_500
    assert [message.value() for message in bench.read(topic, 2_500)] == [record.message for record in records]


def test_a_full_queue_of_the_client_is_waited_for(bench: Any) -> None:
    """A client that takes 50 records at a time still gets all of them, in order, also beside other calls."""
    topic = bench.topic()
    tiny = {"queue.buffering.max.messages": 50, "linger.ms": 1}

    async def main() -> list[Any]:
        producer = await connected(bench, topic, **tiny)
        calls = [producer.produce([Record(b"%d-%d" % (call, i)) for i in range(400)]) for call in range(3)]
        results = await asyncio.gather(*calls)
        await producer.shutdown()
        return results

    assert asyncio.run(main()) == [[None] * 400] * 3
    expected = [b"%d-%d" % (call, i) for call in range(3) for i in range(400)]
    assert [message.value() for message in bench.read(topic, 1200)] == expected


def test_a_record_too_large_for_the_client_does_not_harm_the_others(bench: Any) -> None:
    """It is refused for good, with what to change; its neighbours are stored."""
    topic = bench.topic()
    records = [Record(b"before"), Record(b"x" * 1_100_000), Record(b"after")]

    results = bench.produce(topic, records)

    assert [results[0], results[2]] == [None, None]
    refusal = results[1]
    assert isinstance(refusal, ProduceError)
    assert not refusal.retriable
    assert "message.max.bytes" in str(refusal)
    assert f"topic '{topic}'" in str(refusal)
    assert [message.value() for message in bench.read(topic, 2)] == [b"before", b"after"]


def test_a_record_that_an_empty_queue_has_no_room_for_is_refused(bench: Any) -> None:
    """Waiting for room would hold up the output for ever; those before and behind it are stored."""
    topic = bench.topic()
    records = [Record(b"x" * 30_000) for _ in range(10)]
    records[5] = Record(b"x" * 300_000, b"key", headers=[("special", b"")])
    records[7] = Record(b"x" * 300_000)

    results = bench.produce(topic, records, **{"queue.buffering.max.kbytes": 100})

    refused = {index: result for index, result in enumerate(results) if result is not None}
    assert list(refused) == [5, 7]
    assert not any(result.retriable for result in refused.values())
    assert "a record of 300003 bytes" in str(refused[5])
    assert "raise 'queue.buffering.max.kbytes'" in str(refused[5])
    assert len(bench.read(topic, 8)) == 8


def test_a_record_too_large_for_the_broker_does_not_harm_the_others(real_bench: Any) -> None:
    """The broker refuses the whole batch that the client made: each record of it gets a chance alone."""
    topic = f"small-{real_bench.group}"
    admin = AdminClient({"bootstrap.servers": real_bench.server.bootstrap})
    small = NewTopic(topic, 1, 1, config={"max.message.bytes": "20000"})
    admin.create_topics([small])[topic].result(30)
    # Random, so that compression does not make it small.
    bodies = [os.urandom(1000) for _ in range(30)] + [os.urandom(50_000)] + [os.urandom(1000) for _ in range(30)]

    results = real_bench.produce(topic, [Record(body) for body in bodies])

    refused = [(index, result.retriable) for index, result in enumerate(results) if result is not None]
    assert refused == [(30, False)]
    stored = sorted(message.value() for message in real_bench.read(topic, 60))
    assert stored == sorted(body for body in bodies if len(body) == 1000)


def test_a_record_goes_to_the_partition_that_it_names(bench: Any) -> None:
    """A partition that the topic does not have refuses that record alone."""
    topic = bench.topic(partitions=3)
    records = [Record(b"%d" % partition, options={"partition": partition}) for partition in (2, 0, 7, 1)]

    results = bench.produce(topic, records)

    assert [result is None for result in results] == [True, True, False, True]
    assert not results[2].retriable
    for partition in range(3):
        assert bench.read(topic, 1, partition)[0].value() == b"%d" % partition


def test_an_option_that_is_no_number_refuses_its_record_alone(bench: Any) -> None:
    """It is that record's fault, so neither its neighbours' nor the end of the engine."""
    topic = bench.topic()
    wrong = [
        {"partition": "0"},
        {"partition": True},
        {"partition": 2**40},
        {"partition": None},
        {"timestamp": 1.5},
        {"timestamp": 2**70},
    ]
    records = [Record(b"first"), *(Record(b"wrong", options=options) for options in wrong), Record(b"last")]

    answers = bench.produce(topic, records)

    assert (answers[0], answers[-1]) == (None, None)
    for error, options in zip(answers[1:-1], wrong, strict=True):
        assert not error.retriable
        assert f"{next(iter(options))!r} must be a whole number" in str(error)
    assert [message.value() for message in bench.read(topic, 2)] == [b"first", b"last"]


def test_records_of_one_key_go_to_one_partition(bench: Any, take: Any) -> None:
    """Order is kept by key."""
    topic = bench.topic(partitions=4)

    bench.produce(topic, [Record(b"%d" % i, key=b"k%d" % (i % 5)) for i in range(50)])

    found = take(bench.consumer(topic), 50)
    homes: dict[bytes, set[int]] = {}
    for message in found:
        homes.setdefault(message.key, set()).add(message.ledger.partition[1])
    assert all(len(partitions) == 1 for partitions in homes.values())


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (Record(b"x", delay=5), "cannot delay"),
        (Record(b"x", options={"priority": 1}), "'priority' is not an option"),
    ],
)
def test_a_record_that_asks_for_what_kafka_has_not_is_refused_alone(bench: Any, record: Record, says: str) -> None:
    """Nothing that was asked for is left out in silence."""
    topic = bench.topic()

    results = bench.produce(topic, [Record(b"before"), record, Record(b"after")])

    assert [results[0], results[2]] == [None, None]
    assert says in str(results[1])
    assert not results[1].retriable


def test_a_topic_that_does_not_exist_is_an_error_that_says_so(real_bench: Any) -> None:
    """Connecting asks for it, and does not create it by asking."""

    async def main() -> None:
        producer = KafkaProducer("no-such-output", real_bench.options())
        try:
            await producer.connect()
        finally:
            await producer.shutdown()

    for _ in range(2):
        with pytest.raises(ConnectorError, match=r"topic 'no-such-output'.*create the topic") as caught:
            asyncio.run(main())
        assert not isinstance(caught.value, (NotConnected, FatalConnectorError))


def test_brokers_that_do_not_answer_are_away(bench: Any) -> None:
    """The error says where, and why in the operating system's words."""

    async def main() -> None:
        producer = KafkaProducer("any", bench.options(**{"bootstrap.servers": "127.0.0.1:1", "connect_timeout": 1}))
        try:
            await producer.connect()
        finally:
            await producer.shutdown()

    with pytest.raises(NotConnected, match=r"Kafka at 127\.0\.0\.1:1: .*Connection refused"):
        asyncio.run(main())


def test_records_that_time_out_may_be_sent_again(bench: Any) -> None:
    """What no broker has confirmed in time is not a refusal: it is retriable, for each record."""
    topic = bench.topic()

    async def main() -> Any:
        producer = await connected(bench, topic, **{"delivery.timeout.ms": 1000, "linger.ms": 0})
        bench.server.pause()
        try:
            return await producer.produce([Record(b"1"), Record(b"1"), Record(b"2", b"k")])
        finally:
            bench.server.resume()
            await producer.shutdown()

    results = asyncio.run(main())

    assert [result.retriable for result in results] == [True, True, True]


def test_nothing_can_be_produced_before_connecting_or_after_shutting_down(bench: Any) -> None:
    """Misuse is named; shutting down unconnected is none."""

    async def main() -> None:
        producer = KafkaProducer(bench.topic(), bench.options())
        with pytest.raises(ConnectorError, match="not connected"):
            await producer.produce([Record(b"x")])
        await producer.shutdown()
        await producer.connect()
        await producer.shutdown()
        with pytest.raises(ConnectorError, match="closed"):
            await producer.produce([Record(b"x")])

    asyncio.run(main())


def test_the_event_loop_is_free_while_records_are_on_their_way(bench: Any) -> None:
    """Confirmations are awaited, not waited for."""
    topic = bench.topic()

    async def main() -> int:
        producer = await connected(bench, topic, **{"linger.ms": 300})
        ticks = 0
        call = asyncio.ensure_future(producer.produce([Record(b"x")]))
        while not call.done():
            await asyncio.sleep(0.01)
            ticks += 1
        assert await call == [None]
        await producer.shutdown()
        return ticks

    assert asyncio.run(main()) >= 10


def test_a_call_that_was_given_up_harms_no_other(bench: Any) -> None:
    """A cancelled caller gets no answer; its records may be stored, and later calls are answered."""
    topic = bench.topic()

    async def main() -> Any:
        producer = await connected(bench, topic, **{"linger.ms": 100})
        given_up = asyncio.ensure_future(producer.produce([Record(b"x")]))
        await asyncio.sleep(0)
        given_up.cancel()
        results = await producer.produce([Record(b"y")])
        await producer.shutdown()
        return results

    assert asyncio.run(main()) == [None]


def test_an_output_goes_to_one_topic(bench: Any) -> None:
    """Several names, or a pattern, cannot be produced to."""
    for name in ("one,two", "^all.*"):
        with pytest.raises(ConfigError, match="one topic"):
            KafkaProducer(name, bench.options())


def test_a_queue_with_options_of_its_consumer_is_fed_and_one_of_a_producer_collected(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The configuration is the consumer's or the producer's; `--feed` and `--collect` only pass through."""
    monkeypatch.chdir(tmp_path)
    topic = bench.topic()
    server = f"bootstrap.servers: '{bench.server.bootstrap}', group.id: {bench.group}"
    configuration = "orders: {{connector: kafka, value: {topic}, config: {{{server}, {key}}}}}\n"
    Path("in.yml").write_text(configuration.format(topic=topic, server=server, key="session.timeout.ms: 30000"))
    Path("out.yml").write_text(configuration.format(topic=topic, server=server, key="linger.ms: 5"))
    Path("in.jsonl").write_text('{"n": 1}\n{"n": 2}\n')

    port = ("--metrics-port", "none")
    assert penstock(["run", "--config", "in.yml", "--feed", "orders=in.jsonl", "--drain", *port]) == 0
    assert penstock(["run", "--config", "out.yml", "--collect", "orders=out.jsonl", "--drain", *port]) == 0
    assert Path("out.jsonl").read_text() == '{"n": 1}\n{"n": 2}\n'
