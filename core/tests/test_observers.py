"""Observers: told once a batch what happens in an engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from penstock.engine import Engine
from penstock.events import Called, Consumed, Ended, Event, Failed, Produced, Settled, StateChanged
from penstock.testing import Harness

from .engine_fixture import EngineFixture, drain


def watched(app: Engine) -> list[Event]:
    """All events of an engine."""
    events: list[Event] = []
    app.observer(events.append)
    return events


def engine(function: Callable[..., Any], **more: Any) -> Engine:
    """An engine from "in" to "out" in memory, with dead letters."""
    queues = {name: {"connector": "memory"} for name in ("in", "out", "dead")}
    retry = {"max_attempts": 2, "initial_delay": 1, "jitter": 0}
    app = Engine("in", ["out"], "till", "dead", queues, retry=retry, **more)
    app.stream_app(function)
    return app


def test_a_message_is_told_from_its_arrival_to_its_end() -> None:
    """Consumed, called, produced, settled, ended; with the states of the engine and its queues in between."""
    app = engine(lambda number: ("out", number))
    events = watched(app)

    with Harness(app) as harness:
        harness.send("in", 1)
        harness.send("in", 2)
        harness.run()

    told = [event for event in events if not isinstance(event, StateChanged)]
    assert [type(event) for event in told] == [Consumed, Called, Produced, Settled, Ended]
    consumed, called, produced, settled, ended = told
    assert [message.message for message in consumed.messages] == [b"1", b"2"]  # type: ignore[union-attr]
    assert called.seconds > 0  # type: ignore[union-attr]
    assert produced[:4] == ("till", "out", 2, 0)
    assert (settled.outcome, len(settled.messages), settled.late) == ("succeeded", 2, 0)  # type: ignore[union-attr]
    assert ended == Ended("till")
    states = [(event.component, event.state) for event in events if isinstance(event, StateChanged)]
    assert [state for component, state in states if component == "engine till"] == ["starting", "ok", "stopping"]


def test_a_failure_is_told_with_what_becomes_of_it() -> None:
    """Each try, and the end."""

    def fails(number: int) -> None:
        raise ValueError(number)

    app = engine(fails)
    events = watched(app)

    with Harness(app) as harness:
        harness.send("in", 1)
        harness.run()

    failed = [event for event in events if isinstance(event, Failed)]
    assert [(event.became, event.delay) for event in failed] == [("retried", 1), ("dead_lettered", 0)]
    assert all(type(event.failures[0].error) is ValueError for event in failed)
    assert [len(event.failures) for event in events if isinstance(event, Called)] == [1, 1]
    (settled,) = [event for event in events if isinstance(event, Settled)]
    assert (settled.outcome, settled.stage) == ("dead_lettered", "function")


@pytest.mark.parametrize("outcome", ["requeued", "skipped", "unsettled", "late"])
def test_each_outcome_is_told(outcome: str) -> None:
    """Once, of each message."""
    seen: Counter[int] = Counter()

    def function(number: int) -> bool:
        seen[number] += 1
        return outcome != "requeued" or seen[number] > 1

    app = engine(function, on_invalid="skip")
    app.dead_letter_queue = None
    events = watched(app)
    stand = EngineFixture()

    with Harness(app) as harness:
        if outcome == "late":
            harness.consumer.lose_lease()
        harness.send("in", b"x" if outcome == "skipped" else 1)
        if outcome == "unsettled":
            app._overrides["on_invalid"] = "stop"
            stand.put(b"x")
            app.configure([stand.memory("in"), stand.memory("out")])
            with pytest.raises(Exception, match="not valid json"):
                drain(app)
        else:
            harness.run()

    outcomes = [event.outcome for event in events if isinstance(event, Settled)]
    late = [event.late for event in events if isinstance(event, Settled)]
    assert outcome in outcomes or (outcome == "late" and 1 in late)


def test_the_counters_are_the_sums_of_the_events() -> None:
    """For whatever happens: each message is told in one outcome."""

    def function(number: int) -> Any:
        if number % 5 == 0:
            raise ValueError(number)
        return [("out", number)] * (number % 3)

    app = engine(function)
    events = watched(app)

    with Harness(app) as harness:
        for number in range(50):
            harness.send("in", number)
        harness.run()

        settled: Counter[str] = Counter()
        for event in events:
            if isinstance(event, Settled):
                settled[event.outcome] += len(event.messages)
        assert settled == {"succeeded": harness.succeeded, "dead_lettered": len(harness.dead_letters())}
        assert sum(len(event.messages) for event in events if isinstance(event, Consumed)) == 50
        assert sum(event.confirmed for event in events if isinstance(event, Produced)) == len(harness.sent("out"))


def test_an_observer_that_raises_is_reported_once_and_told_nothing_more(caplog: pytest.LogCaptureFixture) -> None:
    """The messages and the other observers go on."""
    app = engine(lambda number: ("out", number))
    told: list[Event] = []

    @app.observer
    def broken(event: Event) -> None:
        told.append(event)
        if isinstance(event, Consumed):
            raise RuntimeError("no more")

    events = watched(app)
    with Harness(app) as harness:
        harness.send("in", 1)
        harness.run()
        assert harness.sent("out") == [1]

    assert [type(event) for event in told if not isinstance(event, StateChanged)] == [Consumed]
    assert caplog.text.count("observer test_an_observer_that_raises_is_reported_once") == 1
    assert any(isinstance(event, Ended) for event in events)


def test_an_observer_of_two_engines_is_told_each_state_once() -> None:
    """They share the worker's health."""
    stand = EngineFixture()
    engines = [Engine(name, app_name=name, queue_config=[stand.memory("a"), stand.memory("b")]) for name in ("a", "b")]
    events: list[Event] = []
    for app in engines:
        app.stream_app(lambda _number: None)
        app.observer(events.append)

    drain(*engines)

    states = [(event.component, event.state) for event in events if isinstance(event, StateChanged)]
    assert len(states) == len(set(states))
    assert {("engine a", "ok"), ("engine b", "ok")} <= set(states)
