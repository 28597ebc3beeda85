"""What a delivery returns to the loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from penstock.dead_letters import FORMS, Form
from penstock.errors import PenstockError
from penstock.message import QueueMessage
from penstock.pipeline.batch import Batch
from penstock.pipeline.settlement import Decision, Failure


@dataclass(slots=True)
class Group:
    """Messages with the same decision, which still needs a backend.

    Attributes:
        decision: What becomes of them.
        messages: The messages.
        failures: Why, one entry a message; empty if they did not fail.
        form: How much their dead letters say.
        refusal: Why the dead-letter queue refused the form before that one.
    """

    decision: Decision
    messages: Sequence[QueueMessage]
    failures: Sequence[Failure] = ()
    form: Form = FORMS[0]
    refusal: PenstockError | None = None


@dataclass(slots=True)
class Outcomes:
    """What became of the messages of a batch or a group. All of it is counted and logged; the loop applies it.

    Attributes:
        settled: These are in their final state.
        retry: The function is called with these again, each group after so many seconds.
        requeued: The backend has these again and delivers them after so many seconds.
        groups: What still needs a backend, to be carried out side by side.
        rest: What is left of a batch that changed on the way; it is delivered again.
        stop: Why the engine stops; None if it goes on.
    """

    settled: Sequence[QueueMessage] = ()
    retry: list[tuple[Sequence[QueueMessage], float]] = field(default_factory=list)
    requeued: tuple[Sequence[QueueMessage], float] | None = None
    groups: list[Group] = field(default_factory=list)
    rest: Batch | None = None
    stop: PenstockError | None = None
