"""How many duplicates the manual allows (docs/why/delivery.md, "How much comes twice"), with the reason."""

from __future__ import annotations

from dataclasses import dataclass

from tests.chaos.limits import COMMIT_INTERVAL, LONGEST_ATTEMPTS
from tests.chaos.scenarios import Trial
from tests.chaos.servers import KAFKA, POSTGRES_CHANGES


@dataclass(frozen=True)
class Bound:
    """At most so many duplicates, and why."""

    duplicates: int
    reason: str


def bound(trial: Trial) -> Bound:
    """What a trial may cost."""
    if trial.scenario.delivery == "exactly_once":
        return Bound(0, "exactly once: inputs are settled in the transaction of their outputs")
    if trial.poison:
        return Bound(trial.messages - 1, "what was in flight beside the poison at its first crash, once")
    in_flight = min(trial.max_in_flight or trial.messages, trial.messages)
    again, sent_again = 0, 0
    for fault in trial.faults:
        workers = {"none": 0, "one": 1, "all": trial.workers}[fault.workers_hit]
        again += workers * fault.leases_end
        sent_again += workers * fault.answers_lost
    reasons = []
    total = again * in_flight
    if again:
        reasons.append(f"{again} × {in_flight} in flight")
    if trial.scenario.source == KAFKA and again:
        since_commit = round(COMMIT_INTERVAL * trial.concurrency / trial.pause)
        total += again * since_commit
        reasons.append(f"{again} × {since_commit} settled since the last commit")
    if trial.scenario.source == POSTGRES_CHANGES and again:
        behind = round(LONGEST_ATTEMPTS * trial.concurrency / trial.pause)
        total += again * behind
        reasons.append(f"{again} × {behind} settled behind an unsettled one")
    # Kafka's producer is idempotent: what it repeats by itself is stored once.
    if sent_again and set(trial.scenario.outputs.values()) != {KAFKA}:
        total += sent_again * in_flight
        reasons.append(f"{sent_again} × {in_flight} sent again, their answers lost")
    return Bound(total, " + ".join(reasons) or "nothing of this makes a message come twice")
