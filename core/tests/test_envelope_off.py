"""`envelope: off`: raw bodies, for readers that know nothing of the envelope."""

from __future__ import annotations

from typing import Any

import pytest
from core.tests.engine_fixture import EngineFixture, drain, echo
from core.tests.scripted import BareConsumer, BareProducer, Sink, Source

from penstock.errors import ConfigError
from penstock.message import Record


def test_dead_letters_and_outputs_are_the_raw_bodies(stand: EngineFixture, caplog: pytest.LogCaptureFixture) -> None:
    """Without key, headers and reason, which the worker says when it starts."""
    out, dead = Sink(), Sink()
    targets = [
        out.queue(producer=BareProducer, envelope=False),
        dead.queue("dead", producer=BareProducer, envelope="off"),
    ]
    stand.put(Record(b"1", b"k", [("h", b"v")]), Record(b"bad \xff", b"k", [("h", b"v")]), None)

    drain(stand.engine(echo, targets=targets, dead_letters=True, propagate=["h"]))

    for records, bodies in ((out.stored, [b"1"]), (dead.stored, [b"bad \xff", b""])):
        assert [record.message for record in records] == bodies
        assert [(record.key, list(record.headers)) for record in records] == [(None, [])] * len(bodies)
    assert "'envelope: off': messages in 'out' are the raw bodies, without keys and headers" in caplog.text
    assert "dead letters in 'dead' are the raw bodies, without reason, attempts, origin, key and headers" in caplog.text


def test_an_input_reads_what_is_there(stand: EngineFixture) -> None:
    """Also what begins like an envelope."""
    body = b'{"penstock-envelope":1,"key":"k","body":"7"}'
    source = Source([body])
    seen: list[Any] = []

    drain(stand.engine(seen.append, source=source.queue(consumer=BareConsumer, envelope=False)))

    assert seen == [{"penstock-envelope": 1, "key": "k", "body": "7"}]


def test_without_need_it_has_no_effect(stand: EngineFixture, caplog: pytest.LogCaptureFixture) -> None:
    """The connector carries all of it, and the worker says that."""
    stand.put(Record(b"1", b"k"))

    drain(stand.engine(echo, targets=[stand.memory("out", envelope="off")]))

    [message] = stand.take("out")
    assert (message.message, message.key) == (b"1", b"k")
    assert "'envelope: off' of queue 'out' has no effect: connector 'memory' needs none" in caplog.text


def test_a_wrong_value_is_refused(stand: EngineFixture) -> None:
    """It is on or off."""
    with pytest.raises(ConfigError, match="'envelope' must be true or false"):
        stand.memory("out", envelope="raw")
