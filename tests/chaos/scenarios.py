"""What is tried: which queues, which faults, how many messages. A trial is one row of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tests.chaos.faults import EVERY_FAULT, Fault
from tests.chaos.ledger import SHARES, Kind
from tests.chaos.servers import (
    HTTP,
    KAFKA,
    KAFKA_SHARE,
    NATS,
    POSTGRES,
    POSTGRES_CHANGES,
    PUBSUB,
    RABBITMQ,
    REDIS,
    REDIS_LISTS,
    REDIS_STREAMS,
    SERVICE_BUS,
    SQLITE,
    SQS,
    STORAGE_QUEUE,
)

PAUSE = 0.0005  # seconds that one call of the function takes at least: it bounds what a worker does in a second
IN_FLIGHT = 200  # messages that a worker may hold
LEASE = 5.0  # seconds; on Kafka the time after which a member of the group that says nothing is out of it


@dataclass(frozen=True)
class Scenario:
    """Where messages come from and go to.

    Attributes:
        name: As it stands in the table.
        source: The backend of the input queue and of the dead-letter queue.
        outputs: Output queue → its backend.
        delivery: As the configuration says it.
    """

    name: str
    source: str
    outputs: Mapping[str, str]
    delivery: str = "at_least_once"

    @property
    def places(self) -> Sequence[str]:
        """Every backend in it, the input's first."""
        return list(dict.fromkeys([self.source, *self.outputs.values()]))


def _pair(name: str) -> Scenario:
    return Scenario(name, name, {"target": name})


SCENARIOS = {
    each.name: each
    for each in (
        Scenario("kafka", KAFKA, {"target": KAFKA}),
        Scenario("rsmq", REDIS, {"target": REDIS}),
        Scenario("postgres", POSTGRES, {"target": POSTGRES}),
        Scenario("postgres-exactly-once", POSTGRES, {"target": POSTGRES}, "exactly_once"),
        Scenario("kafka-to-rsmq+postgres", KAFKA, {"left": REDIS, "right": POSTGRES}),
    )
}

_PAIRED = (
    KAFKA_SHARE, REDIS_STREAMS, REDIS_LISTS, RABBITMQ, NATS, SQS, PUBSUB, SERVICE_BUS, STORAGE_QUEUE, HTTP, SQLITE,
    POSTGRES_CHANGES,
)  # fmt: skip
PAIRS = {each.name: each for each in map(_pair, _PAIRED)}
"""From a queue to another one of the same connector, which only 3-kills tries."""
KILLED = ("kafka", "rsmq", "postgres", "postgres-exactly-once", *PAIRS)
"""What 3-kills tries: many messages from a queue to another one, and workers that are killed three times."""


AZURITE = "for each request Azurite looks at all its messages, so ten times as many take a hundred times as long"


@dataclass(frozen=True)
class Trial:
    """One row: a scenario, the faults that happen while it runs, and the load.

    Attributes:
        title: What is said in the place of the faults' names.
        max_in_flight: None leaves it to the default.
        poison: How the poison message ends its worker: "exit", "segv", "abort".
        against: Another trial of the same messages that runs first; this one may take 1.5 times as long.
        alone: Nothing else runs beside it: its time is judged.
        fewer: Why it has fewer messages than others of its title.
    """

    scenario: Scenario
    faults: tuple[Fault, ...] = ()
    title: str = ""
    messages: int = 6_000
    workers: int = 2
    concurrency: int = 1
    pause: float = PAUSE
    lease: float = LEASE
    max_in_flight: int | None = IN_FLIGHT
    max_deliveries: int | None = None
    shares: Mapping[Kind, float] = field(default_factory=lambda: SHARES)
    poison: str = ""
    against: Trial | None = None
    alone: bool = False
    fewer: str = ""

    @property
    def name(self) -> str:
        """What `--only` looks at."""
        return f"{self.scenario.name}/{self.fault_names}"

    @property
    def fault_names(self) -> str:
        """The faults in one word."""
        return self.title or "+".join(fault.name for fault in self.faults)

    @property
    def ordered(self) -> bool:
        """Whether the manual promises that outputs of a key come in order: on Kafka, while no connection breaks."""
        return (
            {self.scenario.source, *self.scenario.outputs.values()} == {KAFKA}
            and self.concurrency == 1
            and all(fault.keeps_order for fault in self.faults)
        )


def _of(name: str, *faults: str, **more: object) -> Trial:
    return Trial((SCENARIOS | PAIRS)[name], tuple(EVERY_FAULT[each] for each in faults), **more)  # type: ignore[arg-type]


def slow_database(messages: int) -> Trial:
    """A round trip of 40 ms, concurrency 20, a lease of 3 s: exactly once against at least once."""
    load = {"messages": messages, "workers": 1, "concurrency": 20, "lease": 3.0, "max_in_flight": None, "shares": {}}
    yardstick = _of("postgres", "slow-database", title="slow-database-yardstick", **load)
    return _of("postgres-exactly-once", "slow-database", against=yardstick, alone=True, **load)


def poison(name: str, how: str) -> Trial:
    """300 messages, one of which ends its worker each time; each further crash alone would take half a minute more."""
    return _of(
        name, title=f"poison-{how}", messages=300, workers=1, lease=2.0, max_in_flight=None,
        shares={Kind.POISON: 1 / 300}, poison=how, max_deliveries=1,
    )  # fmt: skip


def crashes(name: str, times: int, max_deliveries: int | None = None) -> Trial:
    """A deployment that crashes again and again, through no message's fault."""
    return _of(
        name, *["kill-at-once"] * times, title=f"{times}-crashes", messages=300, workers=1, lease=2.0, pause=0.02,
        max_in_flight=None, shares={}, max_deliveries=max_deliveries,
    )  # fmt: skip


def short() -> list[Trial]:
    """What the default `nox` tries: each scenario under several faults, and what once failed. At most two minutes."""
    return [
        _of("kafka", "term", "term", messages=5_000),
        _of("rsmq", "kill", "freeze", "lost-answers", "broker-kill"),
        _of("postgres-exactly-once", "kill", "freeze", "blackhole", "lost-answers"),
        _of("kafka", "kill", "broker-kill"),
        _of("postgres", "kill", "term", "broker-stop"),
        poison("rsmq", "exit"),
        _of("kafka-to-rsmq+postgres", "kill", "reset", "lost-answers", messages=4_000),
        poison("postgres", "exit"),
        slow_database(1_000),
    ]


def pair(name: str) -> Trial:
    """20,000 messages through a pair, and three workers killed."""
    shares = {kind: share for kind, share in SHARES.items() if name != HTTP or kind != Kind.INVALID}  # a feed is JSON
    row = _of(name, "kill", "kill", "kill", title="3-kills", messages=20_000, lease=15.0, shares=shares)
    return replace(row, messages=1_000, max_in_flight=32, fewer=AZURITE) if name == STORAGE_QUEUE else row


def full() -> list[Trial]:
    """Every fault in every scenario, by itself, and everything of the short form that is more than that."""
    common = [name for name, fault in EVERY_FAULT.items() if fault.everywhere]
    trials = [_of(scenario, *[name] * EVERY_FAULT[name].times, title=name) for name in common for scenario in SCENARIOS]
    for name in ("rsmq", "postgres"):
        trials += [poison(name, how) for how in ("exit", "segv", "abort")]
        trials += [crashes(name, 20), replace(crashes(name, 6, max_deliveries=3), title="6-crashes")]
    return [*trials, *map(pair, KILLED), slow_database(5_000)]
