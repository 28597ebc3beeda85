"""The way of a message: bounded, joined in a batch, and how long each step took."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.engine import Engine
from penstock.lineage import HEADER, Hop, Lineage, dump, latencies, read
from penstock.message import QueueMessage
from penstock.testing import Harness

CHAIN = [Hop("a", "q", "1", 0.0), Hop("b", "q", "1", 10.0), Hop("c", "q", "1", 30.0)]


def message(*hops: Hop, position: str = "7") -> QueueMessage:
    """A message with these hops."""
    return QueueMessage(None, b"", headers=[(HEADER, dump(hops))], position=position)


def test_latencies_are_those_between_the_hops() -> None:
    """As PredictHQ counts them: b 10 s after a, c 20 s after b, and the service that has it now."""
    found = [(hop.app if hop else None, seconds) for hop, seconds in latencies(message(*CHAIN), to=35.0)]

    assert found == [("b", 10.0), ("c", 20.0), (None, 5.0)]
    assert sum(seconds for _, seconds in found) == 35.0


def test_only_the_last_hops_are_kept() -> None:
    """However long the way is."""
    current = message()
    for number in range(50):
        current = QueueMessage(None, b"", headers=[Lineage(f"app-{number}", "q", 20).header([current])])

    assert [hop.app for hop in read(current)] == [f"app-{number}" for number in range(30, 50)]


def test_messages_that_are_joined_keep_the_hops_of_all() -> None:
    """Each once, in the order of their times, and this engine last."""
    own = Hop("d", "q", "2", 20.0)
    _, value = Lineage("join", "both", 20).header([message(*CHAIN, position="5"), message(CHAIN[0], own)])

    hops = read([(HEADER, value)])
    assert hops[:-1] == [CHAIN[0], CHAIN[1], own, CHAIN[2]]
    assert (hops[-1].app, hops[-1].queue, hops[-1].position) == ("join", "both", "5")


@pytest.mark.parametrize("value", [b"", b"{", b"[1]", b'[["a"]]', b'{"a": 1}', b"\xff"])
def test_a_header_that_is_not_ours_is_no_way(value: bytes) -> None:
    """Another program may use the name."""
    assert read([(HEADER, value)]) == []
    assert latencies([("other", b"x")]) == []


def test_a_message_without_headers_is_read() -> None:
    """It has no hops."""
    assert read(QueueMessage(None, b"")) == []


def test_three_engines_two_of_them_joined_in_a_batch() -> None:
    """Orders and payments meet in one engine, whose output has the way of both."""

    def engine(source: str, target: str, name: str, function: Any, **queue: Any) -> Engine:
        queues = {source: {"connector": "memory", **queue}, target: {"connector": "memory"}}
        app = Engine(source, [target], name, queue_config=queues, lineage=20)
        app.stream_app(function)
        return app

    apps = [
        engine("orders", "both", "ordering", lambda order: ("both", order)),
        engine("payments", "both", "paying", lambda payment: ("both", payment)),
        engine("both", "books", "booking", lambda both: ("books", both), batch=True),
    ]
    with Harness(*apps) as harness:
        harness.send("orders", {"id": 1})
        harness.send("payments", {"id": 2})
        harness.run()
        ways = [{hop.app for hop in read(record.headers)} for record in harness.records("books")]

    assert {"booking"} < set.union(*ways) == {"ordering", "paying", "booking"}
    assert all("booking" in way for way in ways)


def test_an_engine_without_it_writes_none() -> None:
    """Nothing is added that was not asked for."""
    app = Engine("in", ["out"], queue_config={"in": {"connector": "memory"}, "out": {"connector": "memory"}})
    app.stream_app(lambda number: ("out", number))
    with Harness(app) as harness:
        harness.send("in", {"id": 1})
        harness.run()
        assert [list(record.headers) for record in harness.records("out")] == [[]]
