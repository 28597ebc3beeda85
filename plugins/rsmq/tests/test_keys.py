"""Names and ids are those of every other RSMQ client."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rsmq.cmd.utils import make_message_id

from penstock_rsmq.keys import QueueKeys, random_part, sent_at


@pytest.mark.parametrize(
    ("ns", "messages"), [("rsmq", "rsmq:orders"), ("", "orders"), ("{app}", "{app}:orders")], ids=str
)
def test_keys_stand_where_rsmq_puts_them(ns: str, messages: str) -> None:
    """The namespace, a colon, the name; and :Q for the hash."""
    keys = QueueKeys(ns, "orders")

    assert (keys.messages, keys.attributes) == (messages, messages + ":Q")


@given(st.integers(min_value=1, max_value=36**10 - 1))
def test_an_id_tells_when_its_message_was_sent(microseconds: int) -> None:
    """Read from an id of PyRSMQ's making, to the microsecond."""
    assert sent_at(make_message_id(microseconds)) == microseconds / 1_000_000


@pytest.mark.parametrize("message_id", ["", "short", "!" * 32])
def test_an_id_of_another_kind_tells_no_time(message_id: str) -> None:
    """Another program may have put anything into the sorted set."""
    assert sent_at(message_id) is None


def test_random_parts_are_22_letters_and_digits_and_differ() -> None:
    """So that two senders of one microsecond do not meet."""
    parts = {random_part() for _ in range(1000)}

    assert len(parts) == 1000
    assert all(len(part) == 22 and part.isalnum() and part.isascii() for part in parts)
