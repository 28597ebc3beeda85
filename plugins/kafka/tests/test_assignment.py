"""What is noted of messages before they are handed out; a client that is connected to nothing is enough for that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Message

from penstock.offsets import OffsetTracker
from penstock_kafka.assignment import Assignment


@pytest.fixture
def assignment() -> Iterator[Assignment]:
    """One topic, of which partition 0 is ours."""
    client = Consumer({"bootstrap.servers": "127.0.0.1:1", "group.id": "g", "log_level": 0})
    assignment = Assignment(client, OffsetTracker(), 100_000, True, "topic")
    assignment.tracker.assign(("topic", 0))
    yield assignment
    client.close()


def fetched(*offsets: int, partition: int = 0) -> list[Message]:
    """Messages as the client brings them."""
    return [Message(topic="topic", partition=partition, offset=offset, value=b"x") for offset in offsets]


def test_messages_of_a_partition_that_is_not_ours_are_left_out(assignment: Assignment) -> None:
    """They are its owner's, and nothing is noted of them."""
    taken = assignment.take(fetched(5, 6) + fetched(1, partition=1))

    assert [message.offset for message in taken] == [5, 6]
    assert [ledger.partition for ledger in assignment.tracker.ledgers()] == [("topic", 0)]


def test_a_log_that_was_truncated_begins_anew(assignment: Assignment) -> None:
    """Read again from further back, in the middle of a run: what was settled before does not settle what comes now."""
    before = assignment.take(fetched(100, 101, 102))

    taken = assignment.take(fetched(103, 104, *range(50, 120)))

    assert [message.offset for message in taken] == [103, 104, *range(50, 120)]
    assert [message.still_assigned for message in taken] == [False] * 2 + [True] * 70
    late: Any = before[0].ledger.done([100, 101, 102, 103, 104])
    assert late == 5
    assert assignment.tracker.to_commit() == {("topic", 0): 50}
    taken[2].ledger.done([50])
    assert assignment.tracker.to_commit() == {("topic", 0): 51}


def test_holes_in_a_log_are_no_end_of_it(assignment: Assignment) -> None:
    """Compaction and transactions leave some: the ledger stays."""
    taken = assignment.take(fetched(1, 5, 6, 900))

    assert all(message.still_assigned for message in taken)
    taken[0].ledger.done([1, 5, 6, 900])
    assert assignment.tracker.to_commit() == {("topic", 0): 901}


def test_what_is_under_way_below_a_truncation_stays_ours(assignment: Assignment) -> None:
    """It does not come again: nothing above it is committed until it is settled."""
    before = assignment.take(fetched(*range(100)))

    after = assignment.take(fetched(95, 96))

    assert [message.offset for message in before if message.still_assigned] == list(range(95))
    after[0].ledger.done([95, 96])
    assert assignment.tracker.to_commit() == {("topic", 0): 0}
    assert before[0].ledger.done(range(95)) == 0
    assert assignment.tracker.to_commit() == {("topic", 0): 97}


def test_a_partition_without_messages_is_committed_where_it_ends(assignment: Assignment) -> None:
    """What comes later is then the group's, also if it comes while no worker runs."""
    assignment.at_end(("topic", 0), 42)
    assignment.at_end(("topic", 1), 42)

    assert assignment.tracker.to_commit() == {("topic", 0): 42}
