"""What goes wrong, and what becomes of the message: the table of the manual as one pure function."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

from penstock.dead_letters import attempts_of
from penstock.errors import FunctionError, Retry, delay_problem
from penstock.message import QueueMessage
from penstock.retry import RetryPolicy

Stage = Literal["decode", "validate", "function", "output", "produce", "delivery"]
"""Where a message failed: its bytes, its model, the function, what the function returned, or sending that; "delivery"
is a poison message, which was delivered so often that it seems to kill the worker."""

OnInvalid = Literal["stop", "skip"]
OnFailed = Literal["requeue", "stop", "skip"]


class RequeueRequested(Exception):
    """The function returned False."""

    def __init__(self) -> None:
        super().__init__("the function returned False")


class InvalidOutput(Exception):
    """Raised when an output cannot be encoded; its cause says why. `failure` turns it into a `Failure`."""


class StopEngine(Exception):
    """The function cannot work on any message now, so the engine stops and leaves them; the text says why."""


@dataclass(slots=True)
class Failure:
    """One message that failed, and why."""

    message: QueueMessage
    stage: Stage
    error: BaseException


def failure(message: QueueMessage, error: BaseException) -> Failure:
    """The failure of a call for one message: the function's own error, or what is wrong with one of its outputs."""
    if isinstance(error, InvalidOutput) and error.__cause__ is not None:
        return Failure(message, "output", error.__cause__)
    if isinstance(error, Retry) and (problem := _retry_problem(error)) is not None:
        refused = FunctionError(f"the function raised {type(error).__name__}, whose delay is {problem}")
        refused.__cause__ = error
        return Failure(message, "function", refused)
    return Failure(message, "function", error)


def _retry_problem(error: Retry) -> str | None:
    # Its constructor has rejected a wrong one, unless a class of the user's, or a later change, got around that.
    delay = getattr(error, "delay", None)
    return None if delay is None else delay_problem(delay)


class Outcome(Enum):
    """What becomes of a message that failed."""

    RETRY = "retry"  # the same worker tries again after `delay`
    DEAD_LETTER = "dead_letter"  # it goes to the dead-letter queue, then it is settled
    TAIL = "tail"  # it is sent to its own queue again, behind the younger ones, then it is settled
    REQUEUE = "requeue"  # the backend gets it back, to deliver it again after `delay`
    SKIP = "skip"  # it is settled and logged, because the config says so
    STOP = "stop"  # the engine stops and leaves it unsettled


@dataclass(frozen=True, slots=True)
class Decision:
    """An outcome, and the seconds to wait before it."""

    outcome: Outcome
    delay: float = 0.0


def decide(
    failure: Failure,
    *,
    policy: RetryPolicy,
    dead_letters: bool,
    on_invalid: OnInvalid,
    on_failed: OnFailed = "requeue",
    draining: bool = False,
) -> Decision:
    """What becomes of a message that failed.

    Args:
        failure: The message (its `attempts` counts this try) and what happened to it.
        policy: The engine's retry policy.
        dead_letters: Whether the engine has a dead-letter queue.
        on_invalid: What the config says of a message that is not valid, where there is no dead-letter queue.
        on_failed: What it says of one whose attempts are used up, where there is no dead-letter queue.
        draining: The engine stops once its queue is empty. A message whose attempts are used up would prevent that if
            it were requeued.
    """
    used_up = Decision(Outcome.REQUEUE, policy.max_delay)
    if on_failed == "skip":
        used_up = Decision(Outcome.SKIP)
    elif on_failed == "stop" or draining:
        used_up = Decision(Outcome.STOP)
    attempts, error = attempts_of(failure.message), failure.error
    match failure.stage:
        case "decode" | "validate":
            # The same bytes fail the same way however often they are read.
            if dead_letters:
                return Decision(Outcome.DEAD_LETTER)
            return Decision(Outcome.SKIP if on_invalid == "skip" else Outcome.STOP)
        case "function" | "output":
            if isinstance(error, StopEngine):
                return Decision(Outcome.STOP)
            if isinstance(error, RequeueRequested):
                # As often as the function likes, and also while draining: it may wait for something.
                return Decision(Outcome.REQUEUE, policy.delay(attempts))
            if isinstance(error, Retry):
                if policy.again(attempts):
                    if error.to == "tail":
                        return Decision(Outcome.TAIL, error.delay or 0.0)
                    return Decision(Outcome.REQUEUE, policy.delay(attempts) if error.delay is None else error.delay)
            elif policy.again(attempts):
                return Decision(Outcome.RETRY, policy.delay(attempts))
            if dead_letters:
                return Decision(Outcome.DEAD_LETTER)
            # Requeued, the message stays where it is; the longest wait keeps it from a hot loop.
            return used_up
        case "produce" | "delivery":
            # The output's backend will never take this record, so a retry cannot help.
            return Decision(Outcome.DEAD_LETTER) if dead_letters else used_up
