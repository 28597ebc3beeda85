"""What happens in an engine, as observers are told: once a batch, never once a message.

    @app.observer
    def count(event: Event) -> None:
        if isinstance(event, Settled) and event.outcome == "dead_lettered":
            alert(len(event.messages))

An observer is a function of one event. It is called on the event loop, so it must not wait; only a `StateChanged` may
come from another thread. One that raises is reported once, and is told nothing more. Later versions may add events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from penstock.message import QueueMessage
    from penstock.observability.health import State
    from penstock.pipeline.settlement import Failure

Outcome = Literal["succeeded", "dead_lettered", "requeued", "skipped", "superseded", "late", "unsettled"]
"""What became of a message in the end, as the metric `penstock_messages_settled_total` counts it."""

Became = Literal["retried", "held", "requeued", "dead_lettered", "skipped", "late", "unsettled", "stopping"]
"""What becomes of a message that failed: beside its outcome, that it is tried again, that it waits before it is
requeued, or that the engine stops because of it."""


class Consumed(NamedTuple):
    """The input queue delivered messages."""

    engine: str
    messages: Sequence[QueueMessage]


class Called(NamedTuple):
    """The function has finished a batch, in `seconds`; `messages` succeeded, `failures` did not.

    A failure has `message`, `stage` and `error`. One of the stages "decode" and "validate" was not called.
    """

    engine: str
    messages: Sequence[QueueMessage]
    failures: Sequence[Failure]
    seconds: float


class Produced(NamedTuple):
    """The backend of an output queue has answered for all records of a batch."""

    engine: str
    queue: str
    confirmed: int
    refused: int
    seconds: float


class Settled(NamedTuple):
    """Messages reached their final state, confirmed by the backend.

    `late` of them were no longer this engine's when they were to be settled, so another delivery decides.
    """

    engine: str
    outcome: Outcome
    messages: Sequence[QueueMessage]
    late: int = 0
    stage: str = ""


class Failed(NamedTuple):
    """Messages failed, and this becomes of them; `delay` is the seconds until they come again."""

    engine: str
    failures: Sequence[Failure]
    became: Became
    delay: float = 0.0


class Ended(NamedTuple):
    """The engine has ended; it sends no more events."""

    engine: str


class StateChanged(NamedTuple):
    """A component, such as "engine billing" or "input orders", has a new state or a new reason for it."""

    component: str
    state: State
    reason: str


Event = Consumed | Called | Produced | Settled | Failed | Ended | StateChanged
Observer = Callable[[Event], None]
