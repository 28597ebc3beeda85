"""Which hosts are left alone, and how many are remembered."""

from __future__ import annotations

import pytest

from penstock.errors import NotConnected
from penstock_http.breaker import MOST, Breakers


def test_hosts_that_failed_long_ago_are_forgotten() -> None:
    """Records may name a new host each, so not every one that ever failed is kept."""
    breakers = Breakers(1, 60.0)

    for number in range(MOST + 10):
        breakers.failed(f"host{number}.example", None)
    breakers.failed("host10.example", None)  # it fails again, so it is the newest
    breakers.failed("another.example", None)

    assert len(breakers) == MOST
    for remembered in ("host10.example", f"host{MOST + 9}.example", "another.example"):
        with pytest.raises(NotConnected, match="left alone"):
            breakers.enter(remembered)
    for forgotten in ("host0.example", "host11.example"):
        breakers.enter(forgotten)


def test_a_host_that_answers_is_not_remembered() -> None:
    """Nor is one that was only asked."""
    breakers = Breakers(1, 60.0)
    breakers.enter("asked.example")
    breakers.failed("answers.example", None)

    breakers.answered("answers.example")
    breakers.enter("answers.example")

    assert len(breakers) == 0
