"""predicthq.kafka's names on a real broker, beside the client itself, whose offsets are the same."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import confluent_kafka
import pytest

from penstock_compat.predicthq.kafka import (
    Consumer,
    KafkaException,
    Message,
    Producer,
    calc_ref_latencies,
    format_batch_ref,
    format_kafka_ref,
    get_kafka_consumer,
    get_kafka_producer,
    pack_kafka_payload,
    produce,
    produce_batch,
    unpack_kafka_payload,
)

if TYPE_CHECKING:
    from tests.servers.kafka.server import KafkaServer

PAGE = Path(__file__).parents[3] / "docs" / "how_to" / "from_predicthq_kafka.md"
TIMEOUT = 60.0  # seconds for anything that must happen


class Stopped(Exception):
    """Ends `process`, which otherwise goes on."""


def test_a_batch_is_committed_when_its_function_has_returned_and_not_after_an_error(kafka: KafkaServer) -> None:
    """By the same group as the client's own; what was not committed comes to the client."""
    topic, servers = kafka.topic(partitions=1), kafka.bootstrap.split(",")
    producer = Producer("my-service-name", topic, servers)
    producer.produce_batch([Message(f"id-{number}", {"data": number}, []) for number in range(6)])
    producer.close()
    seen: list[list[Message]] = []

    def process_messages(messages: list[Message]) -> None:
        seen.append(messages)
        if len(seen) == 2:
            raise Stopped

    consumer = Consumer(servers, topic, "ranking", 3, 5_000)
    with pytest.raises(Stopped):
        consumer.process(process_messages)

    assert consumer.closed
    assert [[(each.id, each.payload["data"], each.topic) for each in batch] for batch in seen] == [
        [(f"id-{number}", number, topic) for number in numbers] for numbers in ((0, 1, 2), (3, 4, 5))
    ]
    client = get_kafka_consumer(servers, "ranking", {})
    client.subscribe([topic])
    item, ref = _next(client)
    client.close()
    assert item == {"data": 3}
    assert ref["hist"]["svc"] == "my-service-name"
    assert format_kafka_ref(ref) == f"{topic}:0:3:id-3"


def test_the_pages_example_runs(kafka: KafkaServer) -> None:
    """As it stands in the manual, but for the addresses and the names of topics."""
    text = PAGE.read_text().partition("```python\n")[2].partition("```")[0]
    source, target, servers = kafka.topic(partitions=1), kafka.topic(partitions=1), kafka.bootstrap.split(",")
    changed = {"kafka:9092": kafka.bootstrap, "input-topic": source, "output-topic": target}
    for old, new in changed.items():
        text = text.replace(old, new)
    program: dict[str, Any] = {"__name__": "page"}
    exec(text, program)
    sender = Producer("sender", source, servers)
    sender.produce_batch([Message("some_id", {"data": "my message"}, [])])
    sender.close()
    working = threading.Thread(target=program["consumer"].process, args=[program["process_messages"]])
    working.start()
    reading = get_kafka_consumer(servers, "last", {})
    reading.subscribe([target])
    item, ref = _next(reading)
    reading.close()
    program["consumer"].close()
    working.join(TIMEOUT)
    program["producer"].close()

    assert not working.is_alive()
    assert (item, ref["key"], ref["hist"]["svc"]) == ({"data": "my message"}, "some_id", "my-service-name")


def test_the_way_goes_through_both_kinds_of_services(kafka: KafkaServer) -> None:
    """The client's own message, one of ours made of it, and the latencies of both."""
    first, second, servers = kafka.topic(partitions=1), kafka.topic(partitions=1), kafka.bootstrap.split(",")
    client = get_kafka_producer(servers)
    produce(client, first, key="k", value=pack_kafka_payload("old", {"n": 1}))
    produce_batch(client, first, [{"key": "k", "value": pack_kafka_payload("old", {"n": 2}), "partition": 0}])
    producer = Producer("moved", second, servers)

    def pass_on(messages: list[Message]) -> None:
        producer.produce_batch([Message(each.id, each.payload, each.ref) for each in messages])
        raise Stopped

    with pytest.raises(Stopped):  # `latest_only`: one for the key
        Consumer("moved", servers, [first], "g", 2, 5_000).process(pass_on, latest_only=True)
    producer.close()
    reading = get_kafka_consumer(servers, "last", {})
    reading.subscribe([second])
    item, ref = _next(reading)
    reading.close()

    assert item == {"n": 2}
    assert [ref["hist"]["svc"], ref["hist"]["refs"][0]["hist"]["svc"]] == ["moved", "old"]
    assert (ref["hist"]["refs"][0]["topic"], ref["hist"]["refs"][0]["offset"]) == (first, 1)
    stages, total = calc_ref_latencies("here", ref)
    assert [svc for svc, _ in stages] == ["moved", "here"]
    assert total == pytest.approx(sum(seconds for _, seconds in stages))


def test_a_message_that_is_too_large_is_an_error_or_left_out(kafka: KafkaServer) -> None:
    """As the caller says."""
    topic, client = kafka.topic(partitions=1), get_kafka_producer(kafka.bootstrap.split(","))
    batch = [{"key": "k", "value": "x" * 2_000_000}, {"key": "k", "value": "small"}]

    with pytest.raises(KafkaException):
        produce_batch(client, topic, batch)
    produce_batch(client, topic, batch, ignore_large_message_errors=True)


def test_latencies_are_those_of_predicthqs_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain: a at 0 s, b at 10 s, c at 30 s; stages of one service in a row are one."""
    monkeypatch.setattr(time, "time", lambda: 35.0)
    hist: dict[str, Any] | None = None
    for svc, second in (("a", 0), ("b", 4), ("b", 10), ("c", 30)):
        refs = [] if hist is None else [{"topic": "t", "partition": 0, "offset": 1, "key": "k", "hist": hist}]
        hist = {"svc": svc, "dt": f"1970-01-01T00:00:{second:02}Z", "refs": refs}

    assert calc_ref_latencies("d", {"hist": hist}) == ([("b", 10.0), ("c", 20.0), ("d", 5.0)], 35.0)
    assert calc_ref_latencies("d", {"hist": hist}, "c") == ([("c", 20.0), ("d", 5.0)], 25.0)
    assert calc_ref_latencies("d", {"hist": hist}, "other") == ([], 0)
    assert calc_ref_latencies("d", {}) == ([], 0)
    assert format_batch_ref({"t": {0: (10, 19), 1: (7, 8)}}) == "t[0=10:20,1=7:9]"


def test_what_would_lose_messages_is_refused() -> None:
    """With what to do; a topic must be named."""
    with pytest.raises(Exception, match=r"enable\.auto\.commit"):
        Consumer(["h:1"], "t", "g", 1, 1, kafka_consumer_config={"enable.auto.commit": "true"}).process(print)
    with pytest.raises(ValueError, match="topic"):
        Producer("svc", ["h:1"]).produce_batch("", [])
    with pytest.raises(ValueError, match="handler"):
        Consumer(["h:1"], "t", "g", 1, 1).process("not a function")  # type: ignore[arg-type]


def _next(client: confluent_kafka.Consumer) -> tuple[Any, dict[str, Any]]:
    until = time.monotonic() + TIMEOUT
    while time.monotonic() < until:
        if (message := client.poll(1.0)) is not None and message.error() is None:
            found = unpack_kafka_payload(message)
            assert found is not None
            assert json.loads(message.value() or b"").keys() == {"item", "hist"}
            return found
    raise TimeoutError
