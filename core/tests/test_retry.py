"""Whether a failed call is made again, and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from penstock.backoff import Backoff
from penstock.retry import RetryPolicy


def test_a_message_is_tried_three_times_by_default() -> None:
    """The default is bounded: two more tries, then it is given up."""
    policy = RetryPolicy()

    assert [policy.again(attempts) for attempts in (1, 2, 3, 4)] == [True, True, False, False]


def test_one_attempt_means_no_second_try() -> None:
    """`max_attempts` counts calls, not repetitions."""
    assert not RetryPolicy(max_attempts=1).again(1)


@given(st.integers(min_value=1, max_value=1000))
def test_the_function_is_called_exactly_max_attempts_times(limit: int) -> None:
    """Counted by playing it through: call, ask, call."""
    policy = RetryPolicy(max_attempts=limit)
    calls = 1
    while policy.again(calls):
        calls += 1

    assert calls == limit


def test_crashes_before_this_delivery_count_too() -> None:
    """A message that arrives with its attempts used up elsewhere gets one call, and no more."""
    assert not RetryPolicy(max_attempts=3).again(17)


@given(
    st.floats(min_value=0, max_value=1e4),
    st.floats(min_value=1, max_value=1e6),
    st.floats(min_value=0, max_value=1e4),
    st.integers(min_value=1, max_value=10_000),
)
def test_the_delay_is_the_backoffs(initial: float, factor: float, maximum: float, attempts: int) -> None:
    """One formula for every wait."""
    policy = RetryPolicy(initial_delay=initial, factor=factor, max_delay=maximum, jitter=0)

    assert policy.delay(attempts) == Backoff(initial, factor, maximum, 0).delay(attempts)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"max_attempts": 1.5},
        {"initial_delay": -0.1},
        {"initial_delay": float("nan")},
        {"factor": 0.9},
        {"max_delay": -1},
        {"jitter": 1.1},
        {"jitter": -0.1},
        {"max_deliveries": 0},
        {"max_atempts": 3},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    """Where it is written, not at the first failure."""
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        RetryPolicy(**wrong)  # type: ignore[arg-type]


def test_a_policy_cannot_change_while_it_is_used() -> None:
    """It may be shared by engines."""
    with pytest.raises(ValidationError, match="frozen"):
        RetryPolicy().max_attempts = 5  # type: ignore[misc]
