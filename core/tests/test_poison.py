"""Who is a suspect, in which order they are called, and when one is declared poison."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from core.tests.engine_fixture import EngineFixture, drain, running, until
from core.tests.scripted import ABLE, ScriptedConsumer, Source

from penstock.dead_letters import read
from penstock.engine import Engine
from penstock.errors import Retry
from penstock.message import QueueMessage
from penstock.pipeline import suspects
from penstock.pipeline.poison import Suspicion
from penstock.retry import RetryPolicy

POLICY = RetryPolicy(max_attempts=3, max_deliveries=5)


def message(number: int, abandoned: int | None, attempts: int = 1) -> QueueMessage:
    """A delivery of which a connector tells this."""
    return QueueMessage(number, b"%d" % number, attempts=attempts, position=str(number), abandoned=abandoned)


class Bare(QueueMessage):
    """A connector's own class that fills only what it knows."""

    __slots__ = ()

    def __init__(self) -> None:
        self.message_context, self.message, self.position, self.attempts = 0, b"0", "0", 1


def suspicion(*, counted: bool = True, dead_letters: bool = True) -> Suspicion:
    """Of an engine with `POLICY`."""
    return Suspicion(POLICY, counted=counted, dead_letters=dead_letters)


def test_a_requeued_message_is_no_suspect() -> None:
    """However often it was delivered."""
    assert suspicion().among([message(0, 0, attempts=100), message(1, 0)]) == []


def test_the_least_suspicious_come_first() -> None:
    """And in their order among equals."""
    messages = [message(number, abandoned) for number, abandoned in enumerate([3, 0, 1, 2, 1])]
    assert [each.message_context for each in suspicion().among(messages)] == [2, 4, 3, 0]


@pytest.mark.parametrize(("abandoned", "poison"), [(1, False), (6, False), (7, True), (8, True)])
def test_only_deaths_alone_declare_poison(abandoned: int, poison: bool) -> None:
    """The first was in the worker's whole load, the second in a group; then five alone, as `max_deliveries` says."""
    assert (suspicion().poison_error(message(0, abandoned, attempts=abandoned + 1)) is not None) is poison


def test_nothing_is_declared_poison_without_a_dead_letter_queue() -> None:
    """It is a suspect all the same: its neighbours shall get past it."""
    told = suspicion(dead_letters=False)
    assert told.poison_error(message(0, 99)) is None
    assert told.level(message(0, 99)) == 99


def test_nothing_is_a_suspect_where_nothing_is_counted() -> None:
    """On Kafka, for one."""
    assert suspicion(counted=False).among([message(0, None, attempts=99)]) == []


@pytest.mark.parametrize(("attempts", "suspect", "poison"), [(3, False, False), (4, True, False), (6, True, True)])
def test_a_connector_that_tells_attempts_alone_is_believed_less(attempts: int, suspect: bool, poison: bool) -> None:
    """A message may be requeued `max_attempts` times by Retry; then it is called alone, at least twice."""
    each = message(0, None, attempts)
    assert (suspicion().among([each]) == [each]) is suspect
    assert (suspicion().poison_error(each) is not None) is poison


def test_neighbours_of_a_killer_are_in_order_once_forwards_once_backwards() -> None:
    """Where only attempts are told: so those before it are through after one crash, those behind it after the next."""
    forwards = suspicion().among([message(number, None, 4) for number in range(4)])
    backwards = suspicion().among([message(number, None, 5) for number in range(4)])
    assert [each.message_context for each in forwards] == [0, 1, 2, 3]
    assert [each.message_context for each in backwards] == [3, 2, 1, 0]


def test_a_message_of_a_class_that_tells_nothing_is_no_suspect() -> None:
    """A connector's subclass may not know the attribute at all."""
    assert suspicion().among([Bare()]) == []


# -- in an engine


class Recording(ScriptedConsumer):
    """Remembers what is recorded in the backend."""

    capabilities = ABLE

    async def begin_call(self, messages: Any) -> None:
        await self.source.play("begin_call", [each.message for each in messages])

    async def end_call(self, messages: Any) -> None:
        await self.source.play("end_call", [each.message for each in messages])


@pytest.fixture
def no_calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker calls suspects alone from its first moment."""
    monkeypatch.setattr(suspects, "SHORTEST_CALM", 0.0)
    monkeypatch.setattr(suspects, "CALLS_OF_CALM", 0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine stands still for a suspect for a moment only."""
    monkeypatch.setattr(suspects, "STANDSTILL", 0.1)
    monkeypatch.setattr(suspects, "PAUSE", 1)


def recorded(source: Source) -> list[tuple[str, Any]]:
    """The calls that concern suspects, in their order."""
    return [call for call in source.calls if call[0] in ("begin_call", "end_call", "on_success", "on_fail")]


@pytest.mark.usefixtures("no_calm")
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_suspects_are_called_alone_and_recorded_before(stand: EngineFixture, kind: str) -> None:
    """Nothing else runs beside one, and each is settled before the next begins."""
    source = Source([message(0, 2), message(1, 0), message(2, 2), message(3, 3)])
    running_now: list[int] = []
    beside: list[list[int]] = []

    async def later(number: int) -> None:
        running_now.append(number)
        await asyncio.sleep(0.01)
        if number != 1:
            beside.append(list(running_now))
        running_now.remove(number)

    def now(number: int) -> None:
        assert number == 1 or source.calls[-1][0] in ("begin_call", "consume", "lag")

    function = later if kind == "async" else now
    drain(stand.engine(function, [], source=source.queue(consumer=Recording), dead_letters=True))

    assert all(len(each) == 1 for each in beside)
    alone = [call for call in recorded(source) if call[1] != [b"1"]]
    assert alone == [(name, [body]) for body in (b"0", b"2", b"3") for name in ("begin_call", "on_success")]


def test_those_of_one_crash_are_called_in_a_group(stand: EngineFixture) -> None:
    """One record for all of them, so recovery is not slow."""
    source = Source([message(number, 1) for number in range(5)])
    drain(stand.engine(lambda _number: None, [], source=source.queue(consumer=Recording)))
    assert recorded(source)[0] == ("begin_call", [b"0", b"1", b"2", b"3", b"4"])
    assert source.count("end_call") == 0


@pytest.mark.usefixtures("no_calm")
def test_a_suspect_that_is_requeued_is_cleared_first(stand: EngineFixture) -> None:
    """The worker survived the call."""
    source = Source([message(0, 4)])

    def function(_number: int) -> None:
        raise Retry(0.01)

    drain(stand.engine(function, [], source=source.queue(consumer=Recording), dead_letters=True))
    assert [name for name, _bodies in recorded(source)][:3] == ["begin_call", "end_call", "on_fail"]


@pytest.mark.usefixtures("no_calm")
def test_a_suspect_that_is_tried_again_is_cleared_meanwhile(stand: EngineFixture) -> None:
    """While it waits for its next try, another message may kill the worker."""
    source = Source([message(0, 4)])
    calls: list[int] = []

    def function(number: int) -> None:
        calls.append(number)
        if len(calls) == 1:
            raise ValueError("not yet")

    drain(stand.engine(function, [], source=source.queue(consumer=Recording), dead_letters=True))
    assert [name for name, _bodies in recorded(source)] == ["begin_call", "end_call", "on_success"]
    assert len(calls) == 2


def test_a_poison_message_is_dead_lettered_unseen(stand: EngineFixture) -> None:
    """And its neighbours are called."""
    seen: list[int] = []
    source = Source([message(0, 22), message(1, 1), b"2"])
    drain(stand.engine(seen.append, [], source=source.queue(consumer=Recording), dead_letters=True))
    assert sorted(seen) == [1, 2]
    (letter,) = stand.take("dead")
    assert read(letter).stage == "delivery"


def test_a_young_worker_calls_no_message_alone(stand: EngineFixture) -> None:
    """It may be killed for other reasons at once; others go on meanwhile, and a stop does not wait for the suspect."""
    source = Source([message(0, 2), b"1"])
    seen: list[int] = []

    async def main() -> None:
        async with running(stand.engine(seen.append, [], source=source.queue(consumer=Recording))):
            while not seen:
                await asyncio.sleep(0.01)

    asyncio.run(main())
    assert seen == [1]
    assert source.count("begin_call") == 0


# -- a call that hangs


class Hanging:
    """A function that waits for an event where a number is called for which it hangs.

    Attributes:
        begun: Numbers in the order of their calls.
        seen: Numbers whose calls have ended.
    """

    def __init__(self, *hangs: int) -> None:
        self._hangs = hangs
        self.begun: list[int] = []
        self.seen: set[int] = set()
        self.go = asyncio.Event()

    async def function(self, number: int) -> None:
        self.begun.append(number)
        if number in self._hangs:
            await self.go.wait()
        self.seen.add(number)

    def engine(self, stand: EngineFixture, source: Source) -> Engine:
        """An engine that calls it, several at once."""
        queue = source.queue(consumer=Recording)
        return stand.engine(self.function, [], source=queue, dead_letters=True, concurrency=4)


HEALTHY = range(2, 20)
"""Numbers of messages that arrive after the suspects."""


@pytest.mark.usefixtures("no_calm", "impatient")
@pytest.mark.parametrize("abandoned", [1, 2], ids=["in a group", "alone"])
def test_a_suspect_that_hangs_holds_up_no_other_message(stand: EngineFixture, abandoned: int) -> None:
    """A request without a time limit, for one: what arrives is called beside it, and a stop is not held up for it."""
    source = Source([message(0, abandoned), message(1, abandoned)])

    async def main() -> None:
        hanging = Hanging(0)
        engine = hanging.engine(stand, source)
        async with running(engine) as run:
            await until(lambda: 0 in hanging.begun)
            source.add(*(b"%d" % number for number in HEALTHY))
            await until(lambda: hanging.seen >= set(HEALTHY))
            assert b"0" not in source.settled("end_call", "on_success")  # its record stays while it is called
            hanging.go.set()
            await until(lambda: set(source.settled()) == {b"%d" % number for number in range(20)})
            await run.stop()

    asyncio.run(main())


@pytest.mark.usefixtures("no_calm", "impatient")
def test_a_suspect_waits_for_a_call_that_hangs_and_the_others_do_not(stand: EngineFixture) -> None:
    """It is called alone as soon as it can be: never beside that call."""
    source = Source([b"0"])

    async def main() -> None:
        hanging = Hanging(0)
        engine = hanging.engine(stand, source)
        async with running(engine):
            await until(lambda: 0 in hanging.begun)
            source.add(message(1, 2), *(b"%d" % number for number in HEALTHY))
            await until(lambda: hanging.seen == set(HEALTHY))
            assert source.count("begin_call") == 0
            hanging.go.set()
            await until(lambda: hanging.begun[-1] == 1)

    asyncio.run(main())


@pytest.mark.usefixtures("no_calm")
def test_a_suspect_of_another_engine_that_hangs_holds_up_neither_messages_nor_a_stop(
    stand: EngineFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two suspects are never called at once in a process; everything else is."""
    monkeypatch.setattr(suspects, "STANDSTILL", 60.0)
    theirs, ours = Source([message(0, 2)]), Source([message(1, 2)])

    async def main() -> None:
        hanging = Hanging(0)
        async with running(hanging.engine(stand, theirs)):
            await until(lambda: 0 in hanging.begun)
            async with running(hanging.engine(stand, ours), shutdown_timeout=60.0) as run:
                ours.add(*(b"%d" % number for number in HEALTHY))
                await until(lambda: hanging.seen == set(HEALTHY))
                await run.stop()
            assert ours.count("begin_call") == 0
            hanging.go.set()

    asyncio.run(main())
