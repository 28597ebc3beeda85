"""`engine.batch: latest`: of the messages that wait together, the function gets the newest of each key."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from core.tests.engine_fixture import EngineFixture, drain, running, until
from core.tests.test_accounting import counts

from penstock.config.model import EngineSettings, QueueConfig
from penstock.engine import Engine
from penstock.errors import ConfigError
from penstock.message import QueueMessage, Record
from penstock.pipeline.in_flight import InFlight
from penstock.pipeline.latest import Latest

A, B = b"a", b"b"
MESSAGES = (Record(b"1", A), Record(b"2", B), Record(b"3"), Record(b"4", A), Record(b"5", A), Record(b"6"))
LATEST = [2, 3, 5, 6]  # what a function gets of these


def engine(stand: EngineFixture, function: Any, *, batch: bool = False, **settings: Any) -> Engine:
    """An engine from "in" that wants the latest only."""
    return stand.engine(function, source=stand.memory("in", batch=batch), batch="latest", **settings)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("batch", [False, True])
def test_the_newest_of_each_key_is_given(stand: EngineFixture, is_async: bool, batch: bool) -> None:
    """And each message without a key. The others are settled and counted, in metric and summary."""
    stand.put(*MESSAGES)
    seen: list[int] = []

    def see(found: Any) -> None:
        seen.extend(found if batch else [found])

    async def see_async(found: Any) -> None:
        see(found)

    worker = drain(engine(stand, see_async if is_async else see, batch=batch))

    assert seen == LATEST
    assert counts(worker) == {"succeeded": 4, "superseded": 2}
    assert stand.bodies("in") == []


def test_a_list_that_waits_to_be_full_has_each_key_once(stand: EngineFixture) -> None:
    """Also of messages that came one by one; its wait begins with the first of them."""
    seen: list[list[int]] = []

    async def main() -> None:
        app = engine(stand, lambda found: seen.append(list(found)), batch=True, batch_wait=1.0, batch_size=100)
        async with running(app):
            number = 0
            while not seen:
                stand.put(Record(b"%d" % number, A))
                number += 1
                await asyncio.sleep(0.05)
            await until(lambda: app.pipeline and not app.pipeline.in_flight - app.pipeline.executor.waiting)

    asyncio.run(main())

    assert len(seen[0]) == 1
    assert seen[0][0] > 0


def test_the_older_ones_are_settled_with_a_newest_that_is_dead_lettered(stand: EngineFixture) -> None:
    """Which is the only dead letter."""
    stand.put(*MESSAGES[:5])

    def fail(number: int) -> None:
        if number == 5:
            raise ValueError("five")

    worker = drain(engine(stand, fail, dead_letters=True))

    assert counts(worker) == {"succeeded": 2, "dead_lettered": 1, "superseded": 2}
    assert stand.bodies("dead") == [b"5"]
    assert stand.bodies("in") == []


def test_the_older_ones_are_requeued_with_a_newest_that_is_requeued(stand: EngineFixture) -> None:
    """Nothing is lost, and when it comes again, it supersedes them again."""
    stand.put(*MESSAGES[:5])
    calls: list[int] = []

    def put_off(number: int) -> bool:
        calls.append(number)
        return number != 5 or calls.count(5) > 1

    worker = drain(engine(stand, put_off))

    assert calls[-1] == 5
    found = counts(worker)
    assert found["requeued"] == 3
    assert found["succeeded"] + found["superseded"] == 5
    assert stand.bodies("in") == []


def test_nothing_is_settled_before_the_newest_is(stand: EngineFixture) -> None:
    """What waits, or is worked on, when the engine ends is in its queue, the superseded messages with it."""
    stand.put(*MESSAGES)

    async def main() -> None:
        app = engine(stand, lambda _found: None, batch=True, batch_wait=3_000.0, batch_size=100)
        async with running(app) as run:
            await until(lambda: app.pipeline and app.pipeline.executor.waiting == len(LATEST))
            await run.stop()
            assert sum(counts(run.worker).values()) == len(MESSAGES)

    asyncio.run(main())
    assert stand.bodies("in") == [record.message for record in MESSAGES]


def test_a_message_that_is_tried_again_supersedes_no_newer_one() -> None:
    """It stands behind it, since it had to wait."""
    table = InFlight()
    first, second = QueueMessage(None, b"1", A), QueueMessage(None, b"2", A)
    table.add([first], 1.0)
    table.add([second], 2.0)
    [again] = table.next_attempt([first])

    waiting = Latest(table)
    waiting.extend([second, again])

    assert list(waiting) == [second]
    assert table.superseded_by([second]) == [again]
    assert table.for_settlement([again, second]) == [first, second]
    assert first.attempts == 2
    assert table.release([second]) == [second, again]
    assert not table


def test_a_chain_of_newer_messages_ends_with_the_newest() -> None:
    """Which takes over what the one before it had superseded."""
    table = InFlight()
    messages = [QueueMessage(None, b"%d" % number, A) for number in range(3)]
    for number, message in enumerate(messages):
        table.add([message], float(number))
    latest = Latest(table)

    latest.extend(messages[:2])
    latest.extend(messages[2:])

    assert list(latest) == [messages[2]]

    assert table.superseded_by([messages[2]]) == messages[:2]


def test_exactly_once_is_refused_beside_it() -> None:
    """A transaction holds one message for each output."""
    with pytest.raises(ConfigError, match="'batch: latest' needs delivery: at_least_once"):
        EngineSettings(batch="latest", delivery="exactly_once")


def test_a_connector_without_keys_is_told(stand: EngineFixture, caplog: pytest.LogCaptureFixture) -> None:
    """It would give every message."""
    queue = QueueConfig(name="in", connector="rsmq", config={"url": "redis://127.0.0.1:1"})
    app = stand.engine(lambda _number: None, source=queue, batch="latest")

    async def main() -> None:
        async with running(app) as run:
            await until(lambda: "has no keys" in caplog.text)
            await run.stop()

    asyncio.run(main())
    assert "'batch: latest' has no effect: connector 'rsmq' has no keys" in caplog.text
