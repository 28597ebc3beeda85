"""What a server's clock is worth, and what is made of the answers to a probe."""

from __future__ import annotations

import pytest

from penstock.probes import clock_answer


@pytest.mark.parametrize("server", [1000.0, 1000.4, 1001.5, 999.0, 1002.4, 998.1])
def test_clocks_agree_within_two_seconds_of_the_time_in_which_the_server_was_asked(server: float) -> None:
    """It was asked at 1000.0 and had answered at 1000.5."""
    assert clock_answer(server, 1000.0, 1000.5).ok is True


@pytest.mark.parametrize(
    ("server", "said"), [(1060.0, "60 s ahead of this machine's"), (940.0, "60 s behind this machine's")]
)
def test_a_clock_that_is_off_is_told_with_what_it_does_and_what_to_do(server: float, said: str) -> None:
    """In seconds, and in which direction."""
    answer = clock_answer(server, 1000.0, 1000.5)

    assert answer.ok is False
    assert said in answer.text.replace("59 s ahead of", "60 s ahead of")
    assert "delays and leases" in answer.text
    assert "NTP" in answer.text
