"""How many messages an engine asks for: within its limits, and no more than its function works off soon."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.config.model import EngineSettings
from penstock.message import QueueMessage
from penstock.pipeline.prefetch import AHEAD, FIRST_WINDOW, PrefetchWindow


def window(*, whole_batches: bool = False, **settings: Any) -> PrefetchWindow:
    """A window at time 0."""
    return PrefetchWindow(EngineSettings(**settings), whole_batches=whole_batches, now=0.0)


def grown(wanted: PrefetchWindow, rounds: int = 10) -> PrefetchWindow:
    """The same after a function that was never waited for."""
    for done in range(1, rounds + 1):
        wanted.observe(taken=done, returned=done, waiting=0, now=0.0)
    return wanted


def test_the_first_window_is_small() -> None:
    """Before the function's speed is known."""
    assert window().room(in_flight=0, waiting=0) == FIRST_WINDOW
    assert window(concurrency=50).room(in_flight=0, waiting=0) == 50


def test_it_doubles_while_the_function_finishes_all_it_gets() -> None:
    """Up to max_in_flight; what is in flight counts."""
    one = window(max_in_flight=100)

    one.observe(taken=16, returned=16, waiting=0, now=0.0)
    assert one.room(in_flight=0, waiting=0) == 2 * FIRST_WINDOW

    grown(one)
    assert one.room(in_flight=0, waiting=0) == 100
    assert one.room(in_flight=70, waiting=0) == 30
    assert one.room(in_flight=100, waiting=0) == 0


def test_it_does_not_grow_while_nothing_is_finished() -> None:
    """A function that has taken everything and returned nothing may be a slow one."""
    one = window()

    for _ in range(5):
        one.observe(taken=16, returned=0, waiting=0, now=0.0)

    assert one.room(in_flight=0, waiting=0) == FIRST_WINDOW


def test_a_slow_function_gets_what_it_works_off_soon() -> None:
    """100 messages a second: a quarter of a second's work may wait."""
    one = grown(window(max_in_flight=10_000))

    one.observe(taken=110, returned=100, waiting=500, now=1.0)

    assert one.room(in_flight=500, waiting=0) == int(100 * AHEAD)


@pytest.mark.parametrize(("whole_batches", "least"), [(False, 4), (True, 200)])
def test_a_very_slow_function_gets_as_much_as_it_calls_at_once(whole_batches: bool, least: int) -> None:
    """One message a call, or a whole batch, however long that takes."""
    one = window(whole_batches=whole_batches, batch_size=200, concurrency=4)

    one.observe(taken=1, returned=1, waiting=300, now=60.0)

    assert one.room(in_flight=0, waiting=0) == least


def test_a_trickle_is_not_worth_a_fetch_unless_the_function_has_nothing_to_do() -> None:
    """Tiny batches cost more than a short wait."""
    one = grown(window(max_in_flight=100))

    assert one.room(in_flight=90, waiting=90) == 0
    assert one.room(in_flight=90, waiting=0) == 10
    assert one.room(in_flight=70, waiting=70) == 30


def test_large_bodies_count_by_their_bytes() -> None:
    """A larger size counts at once, a smaller one slowly; one message is always allowed."""
    one = grown(window(max_in_flight=1_000, max_in_flight_bytes="1MB"))

    one.weigh([QueueMessage(None, b"x" * 100_000)] * 50)
    assert 1 <= one.room(in_flight=0, waiting=0) <= 11
    one.weigh([QueueMessage(None, None)])
    assert one.room(in_flight=0, waiting=0) <= 13
    one.weigh([QueueMessage(None, b"x" * 10_000_000)])
    assert one.room(in_flight=0, waiting=0) == 1
