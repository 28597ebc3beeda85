"""The wire format of predicthq-kafka: items for the function, and the way of a message in both directions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock import Engine, QueueMessage
from penstock.lineage import HEADER, Hop, latencies, read
from penstock.testing import Harness
from penstock_compat.predicthq.serializer import PhqSerializer, date, history_of, hops_of

# As predicthq-kafka writes it in c: a at 0 s, b at 10 s, c at 30 s.
CHAIN = {
    "svc": "c", "dt": "1970-01-01T00:00:30Z", "refs": [{"topic": "b.out", "partition": 0, "offset": 5, "key": "k",
    "hist": {"svc": "b", "dt": "1970-01-01T00:00:10.000000Z", "refs": [{"topic": "a.out", "partition": 1, "offset": 7,
    "key": "k", "hist": {"svc": "a", "dt": "1970-01-01T01:00:00+01:00", "refs": []}}]}}],
}  # fmt: skip
HOPS = [Hop("a", "", "", 0.0), Hop("b", "a.out", "a.out/1/7", 10.0), Hop("c", "b.out", "b.out/0/5", 30.0)]


def body(item: Any, hist: Any) -> bytes:
    """A message as predicthq-kafka sends it."""
    return json.dumps({"item": item, "hist": hist}).encode()


def test_a_history_is_the_hops_of_a_message() -> None:
    """Latencies are those of PredictHQ's tests: b 10 s, c 20 s, and the service that has it now."""
    headers = PhqSerializer().read_headers(QueueMessage(None, body(1, CHAIN)))

    assert read(headers) == HOPS
    found = [(hop.app if hop else None, seconds) for hop, seconds in latencies(headers, to=35.0)]
    assert found == [("b", 10.0), ("c", 20.0), (None, 5.0)]


def test_hops_are_a_history_of_the_same_services_and_times() -> None:
    """What is written is read as it was; a place that is not Kafka's, too."""
    history = history_of(HOPS)
    assert history is not None
    assert history["refs"][0]["offset"] == 5
    assert hops_of(history) == HOPS
    hops = [Hop("a", "q", "17", 1.0), Hop("b", "q", "id-3", 2.0)]
    assert hops_of(history_of(hops)) == hops
    assert len({len(date(seconds)) for seconds in (0.0, 1.5, 1e9 + 0.123456)}) == 1


@pytest.mark.parametrize("hist", [None, {}, [], 3, {"svc": "a"}, {"svc": "a", "dt": "soon", "refs": []},
                                  {"svc": "a", "dt": "1970-01-01T00:00:30Z", "refs": [7]}])  # fmt: skip
def test_what_is_not_a_history_is_not_a_way(hist: Any) -> None:
    """The item is read all the same."""
    serializer = PhqSerializer()

    assert serializer.read_headers(QueueMessage(None, body("item", hist))) == ()
    assert serializer.deserialize(body("item", hist)) == "item"


def test_a_history_that_doubles_where_messages_are_joined_is_read_once() -> None:
    """Each service once for its time; the first versions wrote one reference without a list."""
    history: Any = {"svc": "s0", "dt": date(0), "refs": []}
    for number in range(1, 10):
        refs = [{"topic": "t", "partition": 0, "offset": number, "key": "", "hist": history}] * 2
        history = {"svc": f"s{number}", "dt": date(number), "refs": refs}
    assert [hop.app for hop in hops_of(history)] == [f"s{number}" for number in range(10)]
    single = {"svc": "b", "dt": date(1), "refs": {"topic": "t", "partition": 0, "offset": 1, "hist": None}}
    assert hops_of(single) == [Hop("b", "t", "t/0/1", 1.0)]


def phq(*names: str, **settings: Any) -> dict[str, Any]:
    """Queues in this format."""
    return {name: {"connector": "memory", "serializer": "phq", **settings} for name in names}


def test_a_way_is_bounded_also_where_messages_are_joined() -> None:
    """Each output has the way of its inputs in its body, of 20 hops at most, and in no header."""
    merge = Engine("in", ["out"], "merge", queue_config=phq("in", batch=True) | phq("out"), lineage=20)
    merge.stream_app(lambda items: [("out", item) for item in items])
    long: Any = None
    for number in range(30):
        refs = [] if long is None else [{"topic": "t", "partition": 0, "offset": number, "key": "", "hist": long}]
        long = {"svc": f"s{number}", "dt": date(number), "refs": refs}
    with Harness(merge) as harness:
        harness.send("in", body(1, long))
        harness.send("in", body(2, {"svc": "other", "dt": date(28.5), "refs": []}))
        harness.run()
        records = harness.records("out")

    assert all(name.lower() != HEADER for record in records for name, _ in record.headers)
    ways = [hops_of(json.loads(record.message or b"")["hist"]) for record in records]
    apps = {hop.app for way in ways for hop in way}
    assert max(map(len, ways)) == 20
    assert {"other", "s29", "merge"} <= apps
    assert "s1" not in apps
    assert [json.loads(record.message or b"")["item"] for record in records] == [1, 2]


def test_an_engine_without_lineage_writes_none() -> None:
    """Which predicthq-kafka reads as no history."""
    app = Engine("in", ["out"], queue_config=phq("in", "out"))
    app.stream_app(lambda item: ("out", item))
    with Harness(app) as harness:
        harness.send("in", body({"ä": 1}, CHAIN))
        harness.run()
        assert [record.message for record in harness.records("out")] == ['{"item":{"ä":1},"hist":null}'.encode()]


def test_a_body_of_another_form_is_a_dead_letter_as_it_came() -> None:
    """Byte for byte."""
    app = Engine("in", dead_letter_queue="dead", queue_config=phq("in") | {"dead": {"profile": "memory-dlq"}})
    app.stream_app(lambda _item: None)
    with Harness(app) as harness:
        harness.send("in", b'{"itme": 1}')
        harness.run()
        assert [record.message for record in harness.records("dead")] == [b'{"itme": 1}']
