"""Runs one trial: fill, start, hurt, wait until all is settled, stop, read, judge."""

from __future__ import annotations

import json
import random
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.backends import Backend, open_backend
from tests.chaos.bounds import Bound, bound
from tests.chaos.ledger import Findings, Ledger
from tests.chaos.scenarios import Trial
from tests.chaos.servers import Place, Servers
from tests.chaos.waiting import LONGEST, LONGEST_REST, LOOK, REST, Stop
from tests.chaos.workers import Supervisor

ALL_WITHIN = 600.0  # seconds for what a trial waits for, even if something moves all the time
SLOWDOWN = 1.5  # times as long as its yardstick, where a trial has one


@dataclass
class Result:
    """A row of the table.

    Attributes:
        stuck: Messages that were still not settled when nothing had moved for long.
        seconds: From the start of the workers to the last settlement.
        working_seconds: The same from the first call of the function on.
        surprises: Workers that ended by themselves, and the like.
    """

    trial: Trial
    seed: int
    bound: Bound
    findings: Findings
    stuck: int
    seconds: float
    working_seconds: float
    surprises: list[str] = field(default_factory=list)
    yardstick_seconds: float | None = None

    def broken(self) -> list[str]:
        """Which bounds are broken, in words; empty for a row that is good."""
        found, counts = self.findings, []
        if found.lost:
            counts.append(f"{len(found.lost)} lost: {_some(found.lost)}")
        if len(found.duplicates) > self.bound.duplicates:
            counts.append(
                f"{len(found.duplicates)} duplicates, at most {self.bound.duplicates} ({self.bound.reason}): "
                f"{_some(found.duplicates)}"
            )
        if found.wrongly_rejected:
            stages = ", ".join(sorted(set(found.wrongly_rejected.values())))
            serials = _some(sorted(found.wrongly_rejected))
            counts.append(f"{len(found.wrongly_rejected)} healthy in the dead-letter queue, stage {stages}: {serials}")
        if found.wrongly_accepted:
            counts.append(f"{len(found.wrongly_accepted)} bad ones have outputs: {_some(found.wrongly_accepted)}")
        if found.out_of_order:
            counts.append(f"{len(found.out_of_order)} out of order: {_some(found.out_of_order)}")
        if self.stuck:
            counts.append(f"{self.stuck} stuck")
        if self.yardstick_seconds is not None and self.working_seconds > SLOWDOWN * self.yardstick_seconds:
            counts.append(
                f"{self.working_seconds:.1f} s, at most {SLOWDOWN} × {self.yardstick_seconds:.1f} s of at least once"
            )
        return [*counts, *found.strangers[:3], *self.surprises[:3]]


def _some(serials: list[int]) -> str:
    return f"serial {', '.join(map(str, serials[:5]))}{', …' if len(serials) > 5 else ''}"


def run(trial: Trial, servers: Servers, seed: int, stop: Stop) -> Result:
    """Run a trial, and its yardstick before it.

    Raises:
        Unavailable: a server that it needs cannot be had here.
        Stopped: `stop` was set.
    """
    yardstick = None if trial.against is None else run(trial.against, servers, seed, stop)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-chaos-")))
        result = Round(trial, servers, seed, folder, stack, stop).run()
    if yardstick is not None:
        result.yardstick_seconds = yardstick.working_seconds
        result.surprises += [f"at least once: {each}" for each in yardstick.broken()]
    return result


class Round:
    """A trial that runs; also the `Field` that its faults see."""

    def __init__(self, trial: Trial, servers: Servers, seed: int, folder: Path, stack: ExitStack, stop: Stop) -> None:
        self.chance = random.Random(seed)
        self.lease = trial.lease
        self._trial = trial
        self._seed = seed
        self._places = {name: servers.get(name) for name in trial.scenario.places}
        label = f"chaos-{uuid.uuid4().hex[:8]}"
        self._backends: dict[str, Backend] = {}
        for name, place in self._places.items():
            self._backends[name] = open_backend(place, label)
            stack.callback(self._backends[name].close)
            stack.callback(place.proxy.heal)
        self.ledger = Ledger(trial.messages, seed, trial.shares)
        self._source = self._backends[trial.scenario.source]
        self._outputs = {queue: self._backends[name] for queue, name in trial.scenario.outputs.items()}
        self.supervisor = Supervisor(folder, trial.workers, self._write_work(folder), stop, bool(trial.poison))
        stack.callback(self.supervisor.close)
        self._turn = self.chance.randrange(len(self._places))

    def _write_work(self, folder: Path) -> dict[str, object]:
        trial = self._trial
        queues = {"source": self._source.queue("source", trial.lease)}
        queues |= {name: backend.queue(name, trial.lease) for name, backend in self._outputs.items()}
        queues["rejects"] = self._source.queue("rejects", trial.lease, dead_letters=True)
        engine: dict[str, object] = {
            "delivery": trial.scenario.delivery,
            "concurrency": trial.concurrency,
            "retry": {"initial_delay": 0.2, "max_attempts": 3},
        }
        if trial.max_in_flight:
            engine["max_in_flight"] = trial.max_in_flight
        if trial.max_deliveries:
            engine["retry"] = {"max_deliveries": trial.max_deliveries, "max_attempts": 3}
        # A busy machine may take longer than the default to bring a server back.
        worker = {"metrics_port": None, "shutdown_timeout": 20, "connect_timeout": LONGEST}
        config = folder / "queues.yml"
        # JSON is YAML.
        config.write_text(json.dumps({"queues": queues, "engine": engine, "worker": worker}))
        return {"config": str(config), "outputs": list(self._outputs), "pause": trial.pause, "poison": trial.poison}

    def place(self) -> Place:
        """The next server in turn: each fault hurts another one, where there are several."""
        self._turn += 1
        return list(self._places.values())[self._turn % len(self._places)]

    def pass_time(self, seconds: float) -> None:
        """See `Field`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.supervisor.tend()
            time.sleep(LOOK)

    def run(self) -> Result:
        """Everything, in order."""
        trial = self._trial
        self._source.fill("source", self.ledger.messages)
        for fault in trial.faults:
            if fault.from_the_start:
                fault.strike(self)
        self._started = time.monotonic()
        self._first_call: float | None = None
        self.supervisor.tend()
        in_the_middle = [fault for fault in trial.faults if not fault.from_the_start]
        for number, fault in enumerate(in_the_middle):
            if fault.name != "kill-at-once":
                # Spread over the first three quarters of the work, so that each finds some.
                share = (number + self.chance.uniform(0.2, 0.8)) / len(in_the_middle) * 0.75
                self._wait_for_outputs(share)
            fault.strike(self)
        stuck = self._wait_until_settled()
        now = time.monotonic()
        self.supervisor.stop()
        for place in self._places.values():
            place.proxy.heal()
        return Result(
            trial,
            self._seed,
            bound(trial),
            self.ledger.judge(
                {queue: backend.outputs(queue) for queue, backend in self._outputs.items()},
                self._source.letters("rejects"),
                trial.ordered,
            ),
            stuck,
            now - self._started,
            now - (self._first_call or self._started),
            self.supervisor.surprises,
        )

    def _wait_for_outputs(self, share: float) -> None:
        """Until this share of the messages has an output; or until nothing moves any more, which the end will tell."""
        enough = max(1, share * self._trial.messages)
        self._watch(lambda: (self._made() or 0) >= enough)

    def _wait_until_settled(self) -> int:
        """Wait as long as anything moves.

        Returns:
            How many messages are not settled.
        """
        if self._watch(lambda: self._source.unsettled("source") == 0):
            return 0
        left = self._source.unsettled("source")
        return self._trial.messages if left is None else left

    def _made(self) -> int | None:
        queue, backend = next(iter(self._outputs.items()))
        return backend.count(queue)

    def _watch(self, done: Callable[[], bool]) -> bool:
        """Look until it is done, or until nothing has moved for long."""
        last, moved = None, time.monotonic()
        deadline = moved + ALL_WITHIN
        while not done():
            began = time.monotonic()
            self.supervisor.tend()
            # A crash is a step as well, where a message is to be declared poison by its crashes.
            crashes = self.supervisor.started if self._trial.poison else 0
            state = (self._made(), self._source.unsettled("source"), crashes)
            if self._first_call is None and any(each.working for each in self.supervisor.processes):
                self._first_call = time.monotonic()
            if state != last and state[:2] != (None, None):
                last, moved = state, time.monotonic()
            now = time.monotonic()
            if self.supervisor.hopeless or now - moved > LONGEST or now > deadline:
                return False
            time.sleep(max(LOOK, min(LONGEST_REST, REST * (time.monotonic() - began))))
        return True
