"""What members of a share group take goes to `consume`, in order, and only while that waits."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from penstock.errors import NotConnected
from penstock_kafka.share_arrivals import Arrivals

WAIT = 10.0  # seconds for what must happen


class Holder:
    """As much of a member as decides whether it is polled."""

    def __init__(self) -> None:
        self.held: dict[Any, None] = {}
        self.closed = False


def waiting(arrivals: Arrivals, member: Any) -> tuple[threading.Thread, list[bool]]:
    """A thread that waits for a member's turn, and what it was told."""
    told: list[bool] = []
    thread = threading.Thread(target=lambda: told.append(arrivals.wait_for_turn(member)), daemon=True)
    thread.start()
    return thread, told


def test_a_member_waits_until_consume_does() -> None:
    """What it takes is locked, and would wait for a `consume` that may come late."""
    arrivals, member = Arrivals(), Holder()
    thread, told = waiting(arrivals, member)
    thread.join(0.1)
    assert thread.is_alive()

    with arrivals.wanted():
        thread.join(WAIT)

    assert told == [True]


def test_a_member_that_holds_something_waits_until_that_is_settled() -> None:
    arrivals, member = Arrivals(), Holder()
    member.held["m"] = None
    with arrivals.wanted():
        thread, told = waiting(arrivals, member)
        thread.join(0.1)
        assert thread.is_alive()

        member.held.clear()
        arrivals.turn()
        thread.join(WAIT)

    assert told == [True]


def test_a_member_that_is_closed_is_told_so() -> None:
    arrivals, member = Arrivals(), Holder()
    thread, told = waiting(arrivals, member)

    member.closed = True
    arrivals.turn()
    thread.join(WAIT)

    assert told == [False]


def test_messages_come_in_the_order_in_which_they_were_taken() -> None:
    arrivals: Any = Arrivals()
    arrivals.add(["a", "b"])
    arrivals.add(["c"])

    assert [arrivals.take(2), arrivals.take(0), arrivals.take(5), arrivals.take(5)] == [["a", "b"], [], ["c"], []]


def test_without_room_messages_do_not_end_the_wait() -> None:
    """A worker that is full would look at them again and again, as fast as it can."""
    arrivals: Any = Arrivals()
    arrivals.add(["a"])
    thread = threading.Thread(target=arrivals.wait, args=(1.0, 0), daemon=True)
    thread.start()
    thread.join(0.1)

    assert thread.is_alive()
    arrivals.wait(WAIT, 1)  # returns at once


def test_an_error_is_raised_once_and_stops_the_polls() -> None:
    """No member polls again before `consume` is called again: the engine decides when."""
    arrivals: Any = Arrivals()
    arrivals.add(["a"])
    with arrivals.wanted():
        arrivals.fail(NotConnected("away"))
        with pytest.raises(NotConnected, match="away"):
            arrivals.take(1)
        thread, told = waiting(arrivals, Holder())
        thread.join(0.1)
        assert thread.is_alive()
    with arrivals.wanted():
        thread.join(WAIT)

    assert told == [True]
    assert arrivals.take(1) == ["a"]


def test_what_has_ended_is_not_handed_out() -> None:
    arrivals: Any = Arrivals()
    arrivals.add(["a", "b", "c"])

    assert arrivals.drop({"b", "z"}) == 1
    assert arrivals.take(5) == ["a", "c"]
