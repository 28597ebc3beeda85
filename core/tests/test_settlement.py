"""The manual's table of what goes wrong, row by row."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest

from penstock.errors import DecodeError, FunctionError, InvalidMessage, PenstockError, ProduceError, Retry
from penstock.message import QueueMessage
from penstock.pipeline.settlement import Decision, Failure, OnInvalid, Outcome, RequeueRequested, Stage, decide
from penstock.retry import RetryPolicy

# No jitter: waits are 1, 2, 4 seconds; attempts 1 and 2 may be followed by another one.
POLICY = RetryPolicy(max_attempts=3, initial_delay=1, factor=2, max_delay=60, jitter=0)

RETRY, DEAD, REQUEUE, SKIP, STOP = Outcome.RETRY, Outcome.DEAD_LETTER, Outcome.REQUEUE, Outcome.SKIP, Outcome.STOP


def fate(
    stage: Stage,
    error: BaseException,
    *,
    attempts: int = 1,
    dead_letters: bool,
    on_invalid: OnInvalid = "stop",
    draining: bool = False,
) -> Decision:
    """What becomes of one failed message."""
    message = QueueMessage(None, b"", attempts=attempts)
    return decide(
        Failure(message, stage, error),
        policy=POLICY,
        dead_letters=dead_letters,
        on_invalid=on_invalid,
        draining=draining,
    )


INVALID: list[tuple[Stage, BaseException]] = [("decode", DecodeError("no JSON")), ("validate", InvalidMessage("no"))]
FAILED: list[tuple[Stage, BaseException]] = [
    ("function", ValueError("boom")),
    ("function", TimeoutError()),
    ("output", FunctionError("no such queue")),
]
HOPELESS: list[tuple[Stage, BaseException]] = [
    ("produce", ProduceError("too large", retriable=False)),
    ("delivery", PenstockError("delivered 21 times")),
]


@pytest.mark.parametrize(("stage", "error"), INVALID)
@pytest.mark.parametrize("attempts", [1, 3, 99])
@pytest.mark.parametrize("draining", [False, True])
@pytest.mark.parametrize(
    ("dead_letters", "on_invalid", "expected"),
    [(True, "stop", DEAD), (True, "skip", DEAD), (False, "skip", SKIP), (False, "stop", STOP)],
)
def test_an_invalid_message_is_never_tried_again(
    stage: Stage,
    error: BaseException,
    attempts: int,
    draining: bool,
    dead_letters: bool,
    on_invalid: OnInvalid,
    expected: Outcome,
) -> None:
    """The same bytes fail the same way: dead-lettered, else what `on_invalid` says, at the first attempt as at any."""
    decision = fate(
        stage, error, attempts=attempts, dead_letters=dead_letters, on_invalid=on_invalid, draining=draining
    )

    assert decision == Decision(expected)


@pytest.mark.parametrize(("stage", "error"), FAILED)
@pytest.mark.parametrize("dead_letters", [False, True])
@pytest.mark.parametrize("draining", [False, True])
@pytest.mark.parametrize(("attempts", "delay"), [(1, 1.0), (2, 2.0)])
def test_a_failed_call_is_made_again_while_attempts_are_left(
    stage: Stage, error: BaseException, dead_letters: bool, draining: bool, attempts: int, delay: float
) -> None:
    """By the same worker, after the policy's wait, which grows."""
    decision = fate(stage, error, attempts=attempts, dead_letters=dead_letters, draining=draining)

    assert decision == Decision(RETRY, delay)


@pytest.mark.parametrize(("stage", "error"), [*FAILED, ("function", Retry(5)), ("function", Retry())])
@pytest.mark.parametrize("attempts", [3, 4, 1000])
@pytest.mark.parametrize(
    ("dead_letters", "draining", "expected"),
    [
        (True, False, Decision(DEAD)),
        (True, True, Decision(DEAD)),
        (False, False, Decision(REQUEUE, 60.0)),
        (False, True, Decision(STOP)),
    ],
)
def test_a_message_whose_attempts_are_used_up_is_given_up_on(
    stage: Stage, error: BaseException, attempts: int, dead_letters: bool, draining: bool, expected: Decision
) -> None:
    """Dead-lettered; without a dead-letter queue it stays where it is, to come again after the longest wait, except
    that a drain, which would then never end, stops."""
    decision = fate(stage, error, attempts=attempts, dead_letters=dead_letters, draining=draining)

    assert decision == expected


@pytest.mark.parametrize("dead_letters", [False, True])
@pytest.mark.parametrize("draining", [False, True])
@pytest.mark.parametrize(
    ("retry", "attempts", "delay"),
    [(Retry(), 1, 1.0), (Retry(), 2, 2.0), (Retry(7.5), 1, 7.5), (Retry(7.5), 2, 7.5), (Retry(0), 2, 0.0)],
)
def test_a_function_that_says_later_gets_the_message_later(
    retry: Retry, attempts: int, delay: float, dead_letters: bool, draining: bool
) -> None:
    """`Retry` requeues the message, after its own delay (0 is a delay) or else the policy's."""
    decision = fate("function", retry, attempts=attempts, dead_letters=dead_letters, draining=draining)

    assert decision == Decision(REQUEUE, delay)


@pytest.mark.parametrize("dead_letters", [False, True])
@pytest.mark.parametrize("draining", [False, True])
@pytest.mark.parametrize(("attempts", "delay"), [(1, 1.0), (3, 4.0), (4, 8.0), (100, 60.0)])
def test_false_requeues_as_often_as_the_function_says_so(
    dead_letters: bool, draining: bool, attempts: int, delay: float
) -> None:
    """It is the function's word, no failure: never dead-lettered, never given up."""
    decision = fate("function", RequeueRequested(), attempts=attempts, dead_letters=dead_letters, draining=draining)

    assert decision == Decision(REQUEUE, delay)


@pytest.mark.parametrize(("stage", "error"), HOPELESS)
@pytest.mark.parametrize("attempts", [1, 3, 99])
@pytest.mark.parametrize(
    ("dead_letters", "draining", "expected"),
    [
        (True, False, Decision(DEAD)),
        (True, True, Decision(DEAD)),
        (False, False, Decision(REQUEUE, 60.0)),
        (False, True, Decision(STOP)),
    ],
)
def test_what_no_second_try_can_help_is_not_tried_again(
    stage: Stage, error: BaseException, attempts: int, dead_letters: bool, draining: bool, expected: Decision
) -> None:
    """An output that its backend refuses for good, a message that kills workers."""
    decision = fate(stage, error, attempts=attempts, dead_letters=dead_letters, draining=draining)

    assert decision == expected


def test_every_case_ends_in_a_fate_and_none_but_a_skip_settles_without_a_trace() -> None:
    """The whole product of the inputs: a message is skipped only where `on_invalid: skip` says so, and only invalid."""
    errors = [ValueError(), Retry(), Retry(1), RequeueRequested(), FunctionError("x"), ProduceError("x")]
    cases = itertools.product(get_args(Stage), errors, [1, 3, 50], [False, True], get_args(OnInvalid), [False, True])

    for stage, error, attempts, dead_letters, on_invalid, draining in cases:
        decision = fate(
            stage, error, attempts=attempts, dead_letters=dead_letters, on_invalid=on_invalid, draining=draining
        )
        assert isinstance(decision.outcome, Outcome)
        assert (decision.outcome is SKIP) == (
            stage in ("decode", "validate") and on_invalid == "skip" and not dead_letters
        )
        assert dead_letters or decision.outcome is not DEAD
        assert decision.delay == 0 or decision.outcome in (RETRY, REQUEUE)


def test_equal_decisions_are_one_group() -> None:
    """Delivery settles by decision, a call for each group and not for each message."""
    assert len({Decision(REQUEUE, 5.0), Decision(REQUEUE, 5.0), Decision(DEAD), Decision(DEAD)}) == 2
