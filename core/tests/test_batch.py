"""A batch on a thread: what it has finished can be taken while a slow call runs, and nothing is lost or doubled."""

from __future__ import annotations

from penstock.message import QueueMessage
from penstock.pipeline.batch import ThreadBatch
from penstock.pipeline.settlement import Failure

MESSAGES = [QueueMessage(number, b"") for number in range(5)]


def numbers(messages: list[QueueMessage]) -> list[int]:
    """What the messages are called."""
    return [message.message_context for message in messages]


def failed(number: int) -> Failure:
    """The failure of a message."""
    return Failure(MESSAGES[number], "function", ValueError())


def test_a_batch_that_ends_by_itself_keeps_what_it_has_done() -> None:
    """Finished, failed, and not started."""
    batch = ThreadBatch(MESSAGES)
    batch.outcomes += [(), failed(1), ()]

    unstarted = batch.close()

    assert numbers(batch.messages) == [0, 2]
    assert [failure.message for failure in batch.failures] == [MESSAGES[1]]
    assert (batch.encoded, numbers(unstarted)) == ([(), ()], [3, 4])
    assert batch.hand_off() is None


def test_a_slow_call_keeps_its_message_and_nothing_else() -> None:
    """What is finished and what waits behind it are handed off; the call itself is kept when it ends."""
    batch = ThreadBatch(MESSAGES)
    batch.outcomes += [(), failed(1)]

    handed_off = batch.hand_off()
    assert handed_off is not None
    part, waiting = handed_off
    assert (numbers(part.messages), numbers(waiting)) == ([0], [3, 4])
    assert [failure.message for failure in part.failures] == [MESSAGES[1]]
    assert batch.hand_off() is None

    batch.outcomes.append(())
    assert batch.close() == []
    assert (numbers(batch.messages), batch.failures) == ([2], [])


def test_a_call_that_was_not_started_after_all_is_not_lost() -> None:
    """The thread ended its slice between two calls, just when the rest was handed off."""
    batch = ThreadBatch(MESSAGES)
    batch.outcomes += [(), ()]
    assert batch.hand_off() is not None

    unstarted = batch.close()

    assert (numbers(batch.messages), numbers(unstarted)) == ([], [2])


def test_the_last_call_of_a_batch_hands_nothing_off_behind_it() -> None:
    """And a first call without anything behind it leaves nothing to hand off."""
    batch = ThreadBatch(MESSAGES)
    batch.outcomes += [()] * 4
    handed_off = batch.hand_off()
    assert handed_off is not None
    assert (numbers(handed_off[0].messages), handed_off[1]) == ([0, 1, 2, 3], [])

    assert ThreadBatch(MESSAGES[:1]).hand_off() is None
