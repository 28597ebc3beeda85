"""What an engine does about cancellation, numbers and exits that come out of the function."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from core.tests.engine_fixture import EngineFixture, drain, settings
from core.tests.raising import FORMS, Mute, PanicException, as_form, expect, group
from core.tests.scripted import Sink, Source
from pydantic import BaseModel, field_validator

from penstock.errors import ConnectorError
from penstock.worker.worker import Worker

# -- cancellation


def cancel_and_wait(number: Any) -> Any:
    async def function() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    return function()


def cancel_and_return(number: Any) -> Any:
    async def function() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    return function()


def cancel_twice_and_raise(number: Any) -> Any:
    async def function() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        task.cancel()
        raise LookupError

    return function()


def cancelled_by_a_timer(number: Any) -> Any:
    async def function() -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_later(0.01, task.cancel)
        await asyncio.sleep(10)

    return function()


@pytest.mark.parametrize("waits", [False, True], ids=["never waits", "waits"])
@pytest.mark.parametrize(
    "cancel",
    [cancel_and_wait, cancel_and_return, cancel_twice_and_raise, cancelled_by_a_timer],
    ids=lambda f: f.__name__,
)
def test_a_function_that_cancels_its_own_task_fails_alone(stand: EngineFixture, cancel: Any, waits: bool) -> None:
    """As in a task of its own. The cancellation reaches no other message's call, and the executor goes on."""

    async def function(number: int) -> Any:
        if number == 2:
            await cancel(number)
        if waits:
            await asyncio.sleep(0)
        return "out", number

    stand.numbers(6)

    [error_type] = expect(stand, stand.engine(function, dead_letters=True, concurrency=2), [0, 1, 3, 4, 5], [2])

    assert error_type in {"CancelledError", "LookupError"}


@pytest.mark.parametrize("cancel", [cancel_and_wait, cancel_and_return], ids=lambda f: f.__name__)
def test_a_batch_function_that_cancels_its_own_task_fails_alone(stand: EngineFixture, cancel: Any) -> None:
    """The messages of its batch, and no others."""

    async def function(numbers: list[int]) -> Any:
        if 2 in numbers:
            await cancel(numbers)
        await asyncio.sleep(0)
        return [("out", number) for number in numbers]

    stand.numbers(6)
    source = stand.memory("in", batch=True)

    expect(
        stand,
        stand.engine(function, source=source, dead_letters=True, batch_size=2, concurrency=1),
        [0, 1, 4, 5],
        [2, 3],
    )


def test_a_cancellation_that_the_function_has_met_itself_is_over(stand: EngineFixture) -> None:
    """It caught what it asked for, so its call succeeds, and no other one notices."""

    async def function(number: int) -> Any:
        if number == 1:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        return "out", number

    stand.numbers(3)

    expect(stand, stand.engine(function, dead_letters=True), [0, 1, 2], [])


def test_time_limits_task_groups_and_scopes_work_inside_a_call(stand: EngineFixture) -> None:
    """All that asks for the current task, and cancels it on purpose, by the one rule and by the other."""
    anyio = pytest.importorskip("anyio")

    async def function(number: int) -> Any:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.005):
                await asyncio.sleep(10)
        with anyio.move_on_after(0.005) as scope:
            await anyio.sleep(10)
        assert scope.cancelled_caught
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(asyncio.sleep(0, number))
        async with anyio.create_task_group() as group:
            group.cancel_scope.cancel()
        if number == 1:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(asyncio.sleep(10))
                raise LookupError
        return "out", task.result()

    stand.numbers(4)

    [error_type] = expect(stand, stand.engine(function, dead_letters=True, concurrency=2), [0, 2, 3], [1])

    assert error_type == "ExceptionGroup"


def test_a_time_limit_that_is_never_left_strikes_one_call_at_most(stand: EngineFixture) -> None:
    """`asyncio.timeout` misused: entered, and left for good. The executor goes on."""

    async def function(number: int) -> Any:
        if number == 0:
            await asyncio.timeout(0.02).__aenter__()
        await asyncio.sleep(0.01)
        return "out", number

    stand.numbers(8)

    expect(stand, stand.engine(function, dead_letters=True, concurrency=1), list(range(8)), [])


# -- what concerns the process


@FORMS
@pytest.mark.parametrize("grouped", [False, True], ids=["alone", "in a group"])
def test_an_exit_concerns_the_process(stand: EngineFixture, form: str, grouped: bool) -> None:
    """Also one that a group holds: its code is kept, and the message stays in its queue."""

    def call(number: int) -> None:
        if number == 1:
            error = SystemExit(3)
            raise BaseExceptionGroup("several", [BaseExceptionGroup("inner", [error])]) if grouped else error

    stand.numbers(2)

    with pytest.raises(SystemExit) as caught:
        drain(stand.engine(as_form(form, call), dead_letters=True))

    assert caught.value.code == 3
    assert b"1" in stand.bodies("in")
    assert stand.bodies("dead") == []


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_an_exit_in_a_validator_concerns_the_process(stand: EngineFixture, asynchronous: bool) -> None:
    """In order: no event loop is broken off."""

    class Number(BaseModel):
        value: int

        @field_validator("value")
        @classmethod
        def check(cls, _value: int) -> int:
            raise SystemExit(3)

    def sync(number: Number) -> None: ...

    async def also_async(number: Number) -> None: ...

    stand.put(b'{"value": 0}')
    source = stand.memory("in", data_model=Number)

    with pytest.raises(SystemExit) as caught:
        drain(stand.engine(also_async if asynchronous else sync, source=source, dead_letters=True))

    assert caught.value.code == 3
    assert stand.bodies("in") == [b'{"value": 0}']


# -- connectors


@pytest.mark.parametrize("method", ["connect", "consume", "on_success", "lag"])
@pytest.mark.parametrize(
    "make", [PanicException, group, GeneratorExit, SystemExit, Mute], ids=lambda make: make.__name__
)
def test_a_connector_that_raises_anything_is_named(stand: EngineFixture, method: str, make: Any) -> None:
    """The engine stops with a sentence that names queue, method and class; nothing is settled that was not."""
    source = Source([b"1"], **{method: [make()]})

    with pytest.raises(ConnectorError, match=rf"queue 'in'.*{method} raised {type(make()).__name__}.*ScriptedConsumer"):
        drain(stand.engine(lambda _: None, source=source.queue()))


def test_a_producer_that_raises_anything_is_named(stand: EngineFixture) -> None:
    """Its inputs stay unsettled."""
    source, sink = Source([b"1"]), Sink(produce=[PanicException()])

    with pytest.raises(ConnectorError, match=r"queue 'out'.*produce raised PanicException.*ScriptedProducer"):
        drain(stand.engine(lambda number: ("out", number), source=source.queue(), targets=[sink.queue()]))

    assert source.settled() == []


# -- the end of everything


def test_a_call_that_is_cancelled_with_everything_else_is_not_a_failure(stand: EngineFixture) -> None:
    """`asyncio.run` cancels all tasks at its end: a call that waits is interrupted, and its message is not settled."""
    source, dead = Source([b"1"]), Sink()
    began = asyncio.Event()

    async def function(number: int) -> None:
        began.set()
        await asyncio.sleep(60)

    engine = stand.engine(
        function, source=source.queue(), targets=[dead.queue("dead")], dead_letters=True, retry={"max_attempts": 1}
    )

    async def main() -> None:
        serving = asyncio.create_task(Worker([engine], settings(shutdown_timeout=0.2)).serve())
        await began.wait()
        assert not serving.done()

    asyncio.run(main())

    assert (source.settled("on_success", "on_fail"), dead.bodies) == ([], [])
