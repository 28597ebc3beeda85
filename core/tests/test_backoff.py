"""Waits that grow: bounded, spread, and never a surprise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.backoff import Backoff

seconds = st.floats(min_value=0, max_value=1e6, allow_nan=False)
factors = st.floats(min_value=1, max_value=1e300, allow_nan=False)
jitters = st.floats(min_value=0, max_value=1)
failures = st.integers(min_value=1, max_value=10**6)


def test_the_waits_double_up_to_the_cap() -> None:
    """Without jitter the formula is plain: initial × factor^(failures - 1), and no more than the maximum."""
    backoff = Backoff(initial=0.5, factor=2, maximum=30, jitter=0)

    assert [backoff.delay(n) for n in range(1, 9)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_jitter_spreads_a_wait_over_its_share() -> None:
    """With 0.5, workers that failed together come back spread over the upper half of the wait."""
    waits = [Backoff(initial=8, maximum=8, jitter=0.5).delay(1) for _ in range(2000)]

    assert 4 <= min(waits) < 4.2
    assert 7.8 < max(waits) <= 8
    assert len(set(waits)) > 1900


@given(seconds, factors, seconds, jitters, failures)
def test_no_wait_is_negative_or_beyond_the_cap(
    initial: float, factor: float, maximum: float, jitter: float, count: int
) -> None:
    """Whatever the numbers, also after a million failures."""
    assert 0 <= Backoff(initial, factor, maximum, jitter).delay(count) <= maximum


@given(seconds, factors, seconds, failures)
def test_a_further_failure_never_shortens_the_wait(initial: float, factor: float, maximum: float, count: int) -> None:
    """Jitter aside, waits only grow."""
    backoff = Backoff(initial, factor, maximum, jitter=0)

    assert backoff.delay(count) <= backoff.delay(count + 1)


@pytest.mark.parametrize("count", [1, 2, 100, 5000])
def test_no_initial_wait_means_never_any(count: int) -> None:
    """Zero stays zero, also where the factor alone would overflow."""
    assert Backoff(initial=0, factor=1e6, maximum=30).delay(count) == 0
