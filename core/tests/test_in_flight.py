"""The table of what an engine works on: attempts are counted there, and a connector's message stays as it is."""

from __future__ import annotations

from penstock.message import QueueMessage
from penstock.pipeline.in_flight import InFlight


def test_a_further_attempt_is_a_copy_that_counts() -> None:
    """The connector's message, and what the function kept of an earlier attempt, do not change."""
    table, message = InFlight(), QueueMessage("7", b"body")
    table.add([message], 1.0)

    [second] = table.next_attempt([message])
    [third] = table.next_attempt([second])

    assert (message.attempts, second.attempts, third.attempts) == (1, 2, 3)
    assert (third.message_context, third.message) == ("7", b"body")
    assert list(table.originals([third])) == [message]
    assert list(table.received_at) == [message]


def test_what_is_settled_is_the_connectors_message_with_its_attempts() -> None:
    """A connector that redelivers from memory counts on from there."""
    table, message, other = InFlight(), QueueMessage("7", b""), QueueMessage("8", b"")
    table.add([message, other], 1.0)
    [second] = table.next_attempt([message])

    assert table.for_settlement([other, second]) == [other, message]
    assert (message.attempts, other.attempts) == (2, 1)


def test_a_released_message_leaves_the_table_and_frees_space() -> None:
    """Whichever attempt of it is released."""
    table, message, other = InFlight(), QueueMessage("7", b""), QueueMessage("8", b"")
    table.add([message, other], 1.0)
    [second] = table.next_attempt([message])

    table.release([second])

    assert (len(table), table.space_freed.is_set()) == (1, True)
    assert list(table.originals([second])) == [second]


def test_the_age_is_that_of_the_oldest() -> None:
    """Unknown while the table is empty."""
    table = InFlight()
    assert table.age is None

    table.add([QueueMessage("7", b"")], 0.0)

    assert table.age is not None
    assert table.age > 0


def test_at_the_end_the_connectors_messages_have_their_attempts() -> None:
    """What is not settled goes back with the attempts that were made."""
    table, message = InFlight(), QueueMessage("7", b"")
    table.add([message], 1.0)
    table.next_attempt(table.next_attempt([message]))

    table.end()

    assert message.attempts == 3
