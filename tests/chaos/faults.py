"""What is done to workers, servers and the wire between them, each in a function of a few lines."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tests.chaos.servers import Place
from tests.chaos.waiting import LOOK, wait_for
from tests.chaos.workers import Process, Supervisor

AWAY = 1.0  # seconds that a server stays away
SILENCE = 6.0  # seconds of a black hole: longer than the leases and the clients' timeouts
ANSWERS_LOST = 0.7  # seconds; shorter than the clients' timeouts, so that each loses one answer
LATENCY, LATENT = 0.05, 4.0  # seconds each way, and for how long
SLOW = 0.02  # seconds each way: a round trip of 40 ms
PAST_THE_LEASE = 2.0  # seconds that a frozen worker stays so after its lease has ended


class Field(Protocol):
    """What a fault can reach of a running trial."""

    chance: random.Random
    supervisor: Supervisor
    lease: float

    def place(self) -> Place:
        """The server that is hurt, or whose connections are."""

    def pass_time(self, seconds: float) -> None:
        """Let the workers work for so long; the supervisor goes on."""


@dataclass(frozen=True)
class Fault:
    """A fault, and what the manual lets it cost.

    Attributes:
        name: As it stands in the table.
        strike: Does it, and undoes it.
        workers_hit: "one" worker's messages may come again, or "all" workers', or those of no worker ("none").
        answers_lost: Confirmations may be lost, so outputs may be sent again.
        leases_end: Messages may come again, since their leases, or the membership in the group, end.
        keeps_order: Outputs stay in order by key, where the scenario keeps them so.
        everywhere: Tried in every scenario by the long form.
        times: How often it strikes there.
        from_the_start: Strikes before the first worker starts, not in the middle.
    """

    name: str
    strike: Callable[[Field], None]
    workers_hit: str
    answers_lost: bool = False
    leases_end: bool = False
    keeps_order: bool = False
    everywhere: bool = True
    times: int = 1
    from_the_start: bool = False


def _kill(field: Field) -> None:
    victim = field.supervisor.victim(field.chance)
    if victim is not None:
        _end(field, victim, signal.SIGKILL)


def _term(field: Field) -> None:
    victim = field.supervisor.victim(field.chance)
    if victim is not None:
        _end(field, victim, signal.SIGTERM)


def _end(field: Field, victim: Process, number: signal.Signals) -> None:
    field.supervisor.signal(victim, number)
    if not wait_for(lambda: not victim.alive):
        field.supervisor.surprises.append(f"a worker did not end after {number.name}")
        field.supervisor.signal(victim, signal.SIGKILL)
    field.supervisor.tend()


def _freeze(field: Field) -> None:
    victim = field.supervisor.victim(field.chance)
    if victim is None:
        return
    field.supervisor.signal(victim, signal.SIGSTOP)
    try:
        field.pass_time(field.lease + PAST_THE_LEASE)
    finally:
        field.supervisor.signal(victim, signal.SIGCONT)


def _kill_broker(field: Field) -> None:
    server = field.place().server
    server.kill()
    time.sleep(AWAY)
    server.start()


def _stop_broker(field: Field) -> None:
    server = field.place().server
    server.stop()
    time.sleep(AWAY)
    server.start()


def _blackhole(field: Field) -> None:
    proxy = field.place().proxy
    proxy.blackhole()
    field.pass_time(SILENCE)
    proxy.heal()


def _half_open(field: Field) -> None:
    field.place().proxy.half_open()
    field.pass_time(LOOK)


def _reset(field: Field) -> None:
    field.place().proxy.reset()


def _lose_answers(field: Field) -> None:
    proxy = field.place().proxy
    proxy.swallow_replies()
    field.pass_time(ANSWERS_LOST)
    proxy.heal()


def _be_late(field: Field) -> None:
    proxy = field.place().proxy
    proxy.delay(LATENCY)
    field.pass_time(LATENT)
    proxy.heal()


def _slow_down(field: Field) -> None:
    field.place().proxy.delay(SLOW)


EVERY_FAULT = {
    fault.name: fault
    for fault in (
        Fault("kill", _kill, "one", leases_end=True, keeps_order=True, times=3),
        Fault("kill-at-once", _kill, "one", leases_end=True, everywhere=False),
        Fault("term", _term, "none", keeps_order=True, times=3),
        Fault("freeze", _freeze, "one", leases_end=True),
        Fault("broker-kill", _kill_broker, "all", answers_lost=True, leases_end=True),
        Fault("broker-stop", _stop_broker, "all", answers_lost=True, leases_end=True),
        Fault("blackhole", _blackhole, "all", answers_lost=True, leases_end=True),
        Fault("half-open", _half_open, "all", answers_lost=True, leases_end=True),
        Fault("reset", _reset, "all", answers_lost=True),
        Fault("lost-answers", _lose_answers, "all", answers_lost=True),
        Fault("latency", _be_late, "none", keeps_order=True),
        Fault("slow-database", _slow_down, "none", everywhere=False, from_the_start=True),
    )
}
