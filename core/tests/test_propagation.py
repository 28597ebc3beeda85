"""Headers of an input that go to its outputs, its dead letters and its replays."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from core.tests.engine_fixture import EngineFixture, drain
from core.tests.scripted import BareProducer, Sink, Source

from penstock.dead_letters import read
from penstock.errors import ConfigError
from penstock.message import QueueMessage, Record
from penstock.routing import Output

TRACE = ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
ALWAYS = [TRACE, ("tracestate", b"a=1"), ("baggage", b"user=7"), ("penstock-id", b"42")]
OTHER = ("tenant", b"acme")


def headers_of(stand: EngineFixture, queue: str = "out") -> list[list[tuple[str, Any]]]:
    return [list(message.headers) for message in stand.take(queue)]


def sync(number: int) -> Any:
    return "out", number


async def asynchronous(number: int) -> Any:
    return "out", number


def generator(number: int) -> Any:
    yield Output("out", number)
    yield "out", number


@pytest.mark.parametrize("function", [sync, asynchronous, generator])
def test_what_makes_a_trace_goes_on_and_nothing_else(stand: EngineFixture, function: Any) -> None:
    """By default the three of the W3C and the message's id, as they came, for each output."""
    stand.put(Record(b"1", headers=[*ALWAYS, OTHER]), Record(b"2"))

    drain(stand.engine(function))

    found = headers_of(stand)
    count = len(found) // 2
    assert found == [ALWAYS] * count + [[]] * count


def test_names_are_compared_in_any_case_and_listed_ones_go_on_too(stand: EngineFixture) -> None:
    """Some backends change the case of names."""
    headers = [("TraceParent", b"t"), ("TENANT", b"acme"), ("more", b"x")]
    stand.put(Record(b"1", headers=headers))

    drain(stand.engine(sync, propagate=["Tenant"]))

    assert [sorted(each) for each in headers_of(stand)] == [[("TENANT", b"acme"), ("TraceParent", b"t")]]


def test_an_outputs_own_header_wins(stand: EngineFixture) -> None:
    """A function that begins a span of its own says so."""
    stand.put(Record(b"1", headers=[TRACE, OTHER]))

    drain(stand.engine(lambda _: Output("out", 1, headers={"Traceparent": "own"}), propagate=["tenant"]))

    assert headers_of(stand) == [[("Traceparent", b"own"), OTHER]]


def test_a_batch_passes_on_what_all_its_messages_agree_on(stand: EngineFixture) -> None:
    """Any other would be wrong for some of them."""
    stand.put(*(Record(b"%d" % n, headers=[("traceparent", b"%d" % n), OTHER, ("baggage", b"b")]) for n in range(3)))
    source = stand.memory("in", batch=True)

    drain(stand.engine(lambda numbers: [("out", n) for n in numbers], source=source, propagate=["tenant"]))

    assert [sorted(each) for each in headers_of(stand)] == [[("baggage", b"b"), OTHER]] * 3


def bare(headers: list[tuple[str, bytes]], output: Any, **settings: Any) -> list[bytes | None]:
    """What arrives at a backend without headers."""
    source = Source([QueueMessage(0, b"1", headers=headers)])
    sink = Sink()
    engine = EngineFixture().engine(
        lambda _: output, source=source.queue(), targets=[sink.queue(producer=BareProducer)], **settings
    )
    drain(engine)
    assert source.settled() == [b"1"]
    return sink.bodies


def test_a_backend_without_headers_gets_no_envelope_for_a_trace() -> None:
    """Other programs read its bodies as they are."""
    assert bare(ALWAYS, ("out", 1)) == [b"1"]


def test_a_listed_name_asks_for_the_envelope_and_the_others_travel_in_it() -> None:
    """So does a header of the output's own."""
    [listed] = bare([*ALWAYS, OTHER], ("out", 1), propagate=["tenant"])
    [own] = bare(ALWAYS, Output("out", 1, headers={"h": "v"}))

    assert dict(json.loads(listed or b"")["headers"]).keys() == {"tenant", *dict(ALWAYS)}
    assert dict(json.loads(own or b"")["headers"]).keys() == {"h", *dict(ALWAYS)}


def fail(_: int) -> None:
    raise LookupError


def test_a_dead_letter_keeps_the_id_that_it_has_and_a_replay_has_it_still(stand: EngineFixture) -> None:
    """With the trace."""
    stand.put(Record(b"1", headers=[TRACE, ("Penstock-Id", b"42")]))

    drain(stand.engine(fail, dead_letters=True))

    [letter] = stand.take("dead")
    said = read(letter)
    assert list(said.record.headers) == [TRACE, ("Penstock-Id", b"42")]
    assert (said.id, said.headers_with_id) == ("42", said.record.headers)


def test_the_id_of_a_message_without_one_is_known_and_stays(stand: EngineFixture) -> None:
    """Its place makes it, its dead letter has it as no header; replayed with it and dead-lettered again, it is the
    same, and it goes to outputs."""
    stand.put(Record(b"1", headers=[OTHER]))
    drain(stand.engine(fail, dead_letters=True))
    [letter] = stand.take("dead")
    said = read(letter)
    assert list(said.record.headers) == [OTHER]
    assert said.id == f"in:{said.position}"
    assert list(said.headers_with_id) == [OTHER, ("penstock-id", said.id.encode())]

    stand.put(Record(b"x"), Record(b"1", headers=said.headers_with_id))
    drain(stand.engine(fail, dead_letters=True))
    again = read(stand.take("dead")[1])
    assert again.position != said.position
    assert (again.id, again.headers_with_id) == (said.id, said.headers_with_id)

    stand.put(again.record)
    drain(stand.engine(sync))
    assert headers_of(stand) == [[("penstock-id", said.id.encode())]]


@pytest.mark.parametrize(("queue", "position"), [(b"", b"1"), (b"in", b"")])
def test_what_does_not_say_where_it_was_has_no_id(queue: bytes, position: bytes) -> None:
    """None is made up: it would be another one each time."""
    headers = [("h", b"v"), ("penstock-origin-queue", queue), ("penstock-origin-position", position)]

    said = read(QueueMessage(None, b"1", headers=headers))

    assert (said.id, said.headers_with_id) == ("", [("h", b"v")])


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("tenant", "'propagate' must be a list, not this text"),
        (7, "'propagate' must be a list, not a number"),
        ([""], "'propagate[0]' must be at least 1 characters long"),
        ([1], "'propagate[0]' must be text, not a number"),
    ],
    ids=repr,
)
def test_names_that_are_not_a_list_of_names_are_refused(stand: EngineFixture, names: Any, said: str) -> None:
    """Where the engine is made, in words of the configuration."""
    with pytest.raises(ConfigError, match=re.escape(said)):
        stand.engine(sync, propagate=names)
