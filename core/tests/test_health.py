"""The registry of states: what it says, when it says ready, when it says alive."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import get_args

import pytest

from penstock.observability.health import REASON_LENGTH, Health, State


class Clock:
    """A clock that a test moves by hand."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


def test_a_worker_that_has_not_begun_is_not_ready() -> None:
    """An empty registry means that nothing was started yet, so the worker is alive but not ready."""
    health = Health()

    assert not health.ready()
    assert health.alive()


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads that take turns as often as they can, so that a race shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("state", get_args(State))
def test_only_ok_is_ready(state: State) -> None:
    """One component in any other state than "ok" makes the worker not ready, and never dead."""
    health = Health()
    health.set_state("engine orders", "ok")

    health.set_state("output invoices", state, "why")

    assert health.ready() is (state == "ok")
    assert health.alive()


def test_a_component_that_recovers_makes_the_worker_ready_again() -> None:
    """The registry shows the present state, not the worst one seen."""
    health = Health()
    health.set_state("input orders", "degraded", "the broker is away")

    health.set_state("input orders", "ok")

    assert health.ready()
    assert health.get("input orders").reason == ""


def test_a_misspelt_state_is_refused_and_changes_nothing() -> None:
    """A state that is none raises an error which names the component and the states that exist."""
    health = Health()
    health.set_state("engine orders", "ok")

    with pytest.raises(ValueError, match=r"engine orders.*'OK'.*ok, starting, degraded, failed, stopping"):
        health.set_state("engine orders", "OK")  # type: ignore[arg-type]

    assert health.get("engine orders").state == "ok"


def test_since_tells_when_the_state_began_and_not_when_its_reason_changed() -> None:
    """Ten failed attempts to connect are one outage, which began at the first."""
    clock = Clock(100.0)
    health = Health(clock=clock)
    health.set_state("input orders", "degraded", "refused, attempt 1")
    clock.seconds = 160.0

    health.set_state("input orders", "degraded", "refused, attempt 2")
    status = health.get("input orders")

    assert (status.since, status.reason) == (100.0, "refused, attempt 2")


def test_since_moves_when_the_state_changes() -> None:
    """A new state begins now."""
    clock = Clock(100.0)
    health = Health(clock=clock)
    health.set_state("input orders", "degraded", "refused")
    clock.seconds = 160.0

    health.set_state("input orders", "ok")

    assert health.get("input orders").since == 160.0


def test_a_page_long_reason_is_cut() -> None:
    """What a client library says can be long; the registry keeps the beginning."""
    health = Health()

    health.set_state("input orders", "failed", "x" * 100_000)

    assert health.get("input orders").reason == "x" * REASON_LENGTH


def test_a_component_that_said_nothing_has_no_status() -> None:
    """Asking for an unknown component is not an error."""
    assert Health().get("nobody") is None


def test_a_loop_that_does_not_turn_within_its_limit_is_not_alive() -> None:
    """The worker is alive up to the limit and dead past it."""
    clock = Clock()
    health = Health(monotonic=clock)
    health.heartbeat("event loop", limit=60.0)
    clock.seconds = 60.0

    at_the_limit = health.alive()
    clock.seconds = 60.1

    assert (at_the_limit, health.alive()) == (True, False)


def test_a_loop_that_turns_again_is_alive_again() -> None:
    """One beat is enough: a pause that is over is not a reason to be restarted."""
    clock = Clock()
    health = Health(monotonic=clock)
    heartbeat = health.heartbeat("event loop", limit=60.0)
    clock.seconds = 1000.0

    heartbeat.beat()

    assert health.alive()


def test_one_hung_loop_is_enough() -> None:
    """A loop that turns does not hide one that hangs."""
    clock = Clock()
    health = Health(monotonic=clock)
    health.heartbeat("engine orders", limit=60.0)
    turning = health.heartbeat("engine invoices", limit=60.0)
    clock.seconds = 61.0

    turning.beat()

    assert not health.alive()


def test_a_loop_that_ended_as_it_should_owes_no_beat() -> None:
    """After `stop` a heartbeat is never late."""
    clock = Clock()
    health = Health(monotonic=clock)
    health.heartbeat("engine orders", limit=60.0).stop()
    clock.seconds = 1000.0

    assert health.alive()


def test_a_restarted_loop_replaces_its_dead_predecessor() -> None:
    """A second heartbeat of the same name takes the place of the first, which may never beat again."""
    clock = Clock()
    health = Health(monotonic=clock)
    health.heartbeat("engine orders", limit=60.0)
    clock.seconds = 61.0

    health.heartbeat("engine orders", limit=60.0)

    assert health.alive()


@pytest.mark.parametrize("limit", [0, -1.0])
def test_a_heartbeat_without_time_to_beat_is_refused(limit: float) -> None:
    """A limit that no loop can meet is a mistake, told at once."""
    with pytest.raises(ValueError, match=r"event loop.*more than 0 seconds"):
        Health().heartbeat("event loop", limit=limit)


def test_the_report_is_the_whole_board_as_json() -> None:
    """Every state, reason, time and pulse is in the report, with units in the names."""
    clock, monotonic = Clock(0.0), Clock()
    health = Health(clock=clock, monotonic=monotonic)
    health.set_state("engine orders", "ok")
    health.set_state("output invoices", "degraded", "broker 10.0.0.1:9092 refused the connection")
    health.heartbeat("event loop", limit=2.0)
    monotonic.seconds = 2.5

    report = json.loads(json.dumps(health.report()))

    assert report == {
        "ready": False,
        "alive": False,
        "components": {
            "engine orders": {"state": "ok", "reason": "", "since": "1970-01-01T00:00:00Z"},
            "output invoices": {
                "state": "degraded",
                "reason": "broker 10.0.0.1:9092 refused the connection",
                "since": "1970-01-01T00:00:00Z",
            },
        },
        "heartbeats": {"event loop": {"age_seconds": 2.5, "limit_seconds": 2.0, "late": True}},
    }


@pytest.mark.usefixtures("hasty_threads")
def test_the_board_can_be_read_while_other_threads_write_new_components() -> None:
    """A report in the middle of a start-up is whole: no reader sees a dict change its size."""
    health = Health()
    writers = [
        threading.Thread(target=lambda n=n: [health.set_state(f"{n}/{i}", "ok") for i in range(2000)]) for n in range(3)
    ]
    for writer in writers:
        writer.start()

    while any(writer.is_alive() for writer in writers):
        health.report()
        health.ready()
    for writer in writers:
        writer.join()

    assert len(health.report()["components"]) == 6000


def test_importing_health_brings_no_http_and_no_prometheus() -> None:
    """A part that only sets states pays neither for the server nor for the client that may show it."""
    code = (
        "import sys, penstock.observability.health\n"
        "print([m for m in ('http', 'prometheus_client', 'pydantic') if m in sys.modules])"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert result.stdout.strip() == "[]"


def test_a_component_whose_work_is_done_leaves_the_board() -> None:
    """A feed that is through is neither well nor ill, and the worker is as ready as before."""
    health = Health()
    health.set_state("engine orders", "ok")
    health.set_state("output orders", "stopping")
    assert not health.ready()

    health.remove("output orders")
    health.remove("never there")

    assert health.ready()
    assert health.get("output orders") is None
