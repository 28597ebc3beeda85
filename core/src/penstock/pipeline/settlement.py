"""What goes wrong, and what becomes of the message: the table of the manual as one pure function."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

from penstock.errors import Retry
from penstock.message import QueueMessage
from penstock.retry import RetryPolicy

Stage = Literal["decode", "validate", "function", "output", "produce", "delivery"]
"""Where a message failed: its bytes, its model, the function, what the function returned, sending that, or being
delivered so often that something must be killing the worker."""

OnInvalid = Literal["stop", "skip"]


class GivenBack(Exception):
    """The function returned False."""

    def __init__(self) -> None:
        super().__init__("the function returned False")


class StopEngine(Exception):
    """The function can work on no message now, so the engine stops and leaves them; its text says why."""


@dataclass(slots=True)
class Failure:
    """One message that did not make it through the pipeline this time."""

    message: QueueMessage
    stage: Stage
    error: BaseException


class Fate(Enum):
    """What becomes of a message that failed."""

    RETRY = "retry"  # the same worker tries again after `delay`
    DEAD_LETTER = "dead_letter"  # it goes to the dead-letter queue, then it is settled
    REQUEUE = "requeue"  # it is given back, to come again after `delay`
    SKIP = "skip"  # it is settled and logged, because the config says so
    STOP = "stop"  # the engine stops and leaves it unsettled


@dataclass(frozen=True, slots=True)
class Decision:
    """A fate, and the seconds to wait where it has any."""

    fate: Fate
    delay: float = 0.0


def decide(
    failure: Failure, *, policy: RetryPolicy, dead_letters: bool, on_invalid: OnInvalid, draining: bool = False
) -> Decision:
    """What becomes of a message that failed.

    Args:
        failure: The message (its `attempts` counts this try) and what happened to it.
        policy: The engine's retry policy.
        dead_letters: Whether the engine has a dead-letter queue.
        on_invalid: What the config says of a message that is not valid, where there is no dead-letter queue.
        draining: The engine is to stop once its queue is empty, which a message whose attempts are used up would
            prevent, were it given back.
    """
    given_up = Decision(Fate.STOP) if draining else Decision(Fate.REQUEUE, policy.max_delay)
    attempts, error = failure.message.attempts, failure.error
    match failure.stage:
        case "decode" | "validate":
            # The same bytes fail the same way however often they are read.
            if dead_letters:
                return Decision(Fate.DEAD_LETTER)
            return Decision(Fate.SKIP if on_invalid == "skip" else Fate.STOP)
        case "function" | "output":
            if isinstance(error, StopEngine):
                return Decision(Fate.STOP)
            if isinstance(error, GivenBack):
                # As often as the function likes, and also while draining: it may wait for something.
                return Decision(Fate.REQUEUE, policy.delay(attempts))
            if isinstance(error, Retry):
                if policy.again(attempts):
                    return Decision(Fate.REQUEUE, policy.delay(attempts) if error.delay is None else error.delay)
            elif policy.again(attempts):
                return Decision(Fate.RETRY, policy.delay(attempts))
            if dead_letters:
                return Decision(Fate.DEAD_LETTER)
            # Without a dead-letter queue the message stays where it is; the longest wait keeps it from a hot loop.
            return given_up
        case "produce" | "delivery":
            # The output's backend will never take this record, so a retry cannot help.
            return Decision(Fate.DEAD_LETTER) if dead_letters else given_up
