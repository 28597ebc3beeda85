"""What a connector's methods may answer: each wrong answer in a sentence that goes on after the queue's name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

from penstock.message import BrowsedMessage, LazyMessages, QueueMessage, Record
from penstock.results import Backlog
from penstock.transacted import Refusal, Transacted


def consume_problem(answer: object, max_messages: int, method: str = "consume") -> str | None:
    """What is wrong with what `consume`, or `claim`, returned; None if nothing is."""
    if (problem := _not_a_sequence(method, answer, "an empty list if there are no messages")) is not None:
        return problem
    assert isinstance(answer, Sequence)  # noqa: S101  (for type checkers)
    for kind in () if isinstance(answer, LazyMessages) else set(map(type, answer)):
        if not issubclass(kind, QueueMessage):
            return f"{method} returned a {kind.__name__} among its messages; each must be a penstock.QueueMessage"
    if len(answer) > max_messages:
        return f"{method} returned {len(answer)} messages where at most {max_messages} were asked for"
    return None


def browse_problem(answer: object, limit: int | None = None, after: str | None = None) -> str | None:
    """What is wrong with what `browse`, or `follow`, returned; None if nothing is."""
    if (problem := _not_a_sequence("browse", answer, "an empty list if there are no more messages")) is not None:
        return problem
    assert isinstance(answer, Sequence)  # noqa: S101  (for type checkers)
    for kind in set(map(type, answer)):
        if not issubclass(kind, BrowsedMessage):
            return (
                f"browse returned a {kind.__name__} among its messages; each must be a penstock.message.BrowsedMessage"
            )
    if limit is not None and len(answer) > limit:
        return f"browse returned {len(answer)} messages where at most {limit} were asked for"
    if answer and after is not None and answer[-1].position == after:
        return f"browse after {after!r} ended with that position again, so it would never come to an end"
    return None


def count_problem(method: str, answer: object, most: int) -> str | None:
    """What is wrong with a number of lost messages; None if nothing is."""
    if answer is None or (_is_count(answer) and answer <= most):
        return None
    return (
        f"{method} returned {_shown(answer)}; it must return how many of its {most} messages were no longer ours, or "
        "None"
    )


def lag_problem(answer: object) -> str | None:
    """What is wrong with what `lag` returned; None if nothing is."""
    if answer is None or _is_count(answer):
        return None
    return f"lag returned {_shown(answer)}; it must return how many messages wait, or None"


def backlog_problem(answer: object) -> str | None:
    """What is wrong with what `backlog` returned; None if nothing is."""
    if not isinstance(answer, Backlog):
        return f"backlog returned {_shown(answer)} instead of a Backlog"
    for name in ("waiting", "in_flight", "delayed"):
        if (count := getattr(answer, name)) is not None and not _is_count(count):
            return f"backlog returned {_shown(count)} as {name}; it must return how many messages these are, or None"
    return None


def transact_problem(
    answer: object, messages: Sequence[QueueMessage], outputs: Sequence[Sequence[Record]]
) -> str | None:
    """What is wrong with what `transact` returned; None if nothing is."""
    if not isinstance(answer, Transacted):
        return f"transact returned a {type(answer).__name__} instead of a Transacted"
    for name in ("lost", "refused"):
        if (problem := _not_a_sequence(f"transact's {name}", getattr(answer, name), "an empty one")) is not None:
            return problem
    if not all(any(lost is message for message in messages) for lost in answer.lost):
        return "transact returned as lost what is not one of its messages"
    for refusal in answer.refused:
        if type(refusal) is not Refusal:
            return f"transact returned a {type(refusal).__name__} among its refusals; each must be a Refusal"
        if not (0 <= refusal.output < len(outputs) and 0 <= refusal.record < len(outputs[refusal.output])):
            return f"transact refused record {refusal.record} of output {refusal.output}, which it was not given"
    return None


def _not_a_sequence(what: str, answer: object, instead: str) -> str | None:
    if isinstance(answer, Sequence) and not isinstance(answer, (str, bytes, bytearray, memoryview)):
        return None
    verb = "is" if what.startswith("transact") else "returned"
    return f"{what} {verb} {_shown(answer)} instead of a list; {instead}"


def _is_count(answer: object) -> TypeGuard[int]:
    return isinstance(answer, int) and not isinstance(answer, bool) and answer >= 0


def _shown(answer: object) -> str:
    """Numbers as they are; of all else the type: it may be a message's data."""
    if answer is None or isinstance(answer, (bool, int, float)):
        return repr(answer)
    return f"a {type(answer).__name__}"
