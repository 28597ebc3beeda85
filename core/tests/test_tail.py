"""`Retry(to="tail")`: a message goes behind the younger ones of its own queue."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from core.tests.engine_fixture import EngineFixture, drain
from core.tests.test_accounting import counts

from penstock.dead_letters import TRIES, read
from penstock.errors import Retry
from penstock.message import QueueMessage, Record


@pytest.mark.parametrize("delay", [None, 0.05])
def test_a_message_goes_behind_the_younger_ones(stand: EngineFixture, delay: float | None) -> None:
    """With key and headers, and with its tries in a header; counted as requeued."""
    stand.put(Record(b"1", b"k", [("h", b"v")]), b"2", b"3")
    seen: list[tuple[int, bytes | None, list[Any]]] = []

    def function(number: int, msg_ctx: QueueMessage) -> None:
        seen.append((number, msg_ctx.key, list(msg_ctx.headers)))
        if number == 1 and len([each for each in seen if each[0] == 1]) < 3:
            raise Retry(delay, to="tail")

    worker = drain(stand.engine(function, outputs=["in"], batch_size=1, max_in_flight=1))

    assert [number for number, _key, _headers in seen][:3] == [1, 2, 3]
    headers = [("h", b"v")]
    assert [(key, found) for number, key, found in seen if number == 1] == [
        (b"k", headers),
        (b"k", [*headers, (TRIES, b"1")]),
        (b"k", [*headers, (TRIES, b"2")]),
    ]
    assert counts(worker) == {"requeued": 2, "succeeded": 3}
    assert stand.bodies("in") == []


def test_the_tries_are_bounded(stand: EngineFixture) -> None:
    """By `max_attempts`, over all of them; the dead letter says how many there were, and can be sent back."""
    stand.put(b"1")
    calls: list[int] = []

    def function(number: int) -> None:
        calls.append(number)
        raise Retry(to="tail", reason="busy")

    drain(stand.engine(function, outputs=["in"], dead_letters=True))

    [message] = stand.take("dead")
    letter = read(message)
    assert (len(calls), letter.attempts, letter.error_text) == (3, 3, "busy")
    assert TRIES not in dict(message.headers)


def test_an_engine_that_does_not_write_to_its_input_says_so(stand: EngineFixture) -> None:
    """A failed call, with what to write."""
    stand.put(b"1")

    def function(_number: int) -> None:
        raise Retry(to="tail")

    drain(stand.engine(function, dead_letters=True))

    [message] = stand.take("dead")
    letter = read(message)
    assert letter.error_type == "FunctionError"
    assert "does not write to its input queue; add it to the outputs: Engine('in', output_queues=['in', …])" in (
        letter.error_text
    )


def test_a_wrong_place_is_refused_and_a_right_one_survives_a_process_pool() -> None:
    """Where it is written."""
    with pytest.raises(ValueError, match="write 'tail'"):
        Retry(to="head")  # type: ignore[arg-type]

    again = pickle.loads(pickle.dumps(Retry(2.5, "busy", to="tail")))
    assert (again.delay, again.reason, again.to) == (2.5, "busy", "tail")
