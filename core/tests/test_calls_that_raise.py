"""Whatever a user's code raises is a failed call, and its neighbours go on; only an exit concerns the process."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from core.tests.engine_fixture import EngineFixture, drain, settings
from core.tests.scripted import Sink, Source
from pydantic import BaseModel, field_validator, model_serializer

from penstock.dead_letters import read
from penstock.errors import ConnectorError, Retry
from penstock.model_handlers import ModelHandler
from penstock.serializers import Serializer
from penstock.worker.worker import Worker


class PanicException(BaseException):
    """As a Rust extension raises it, and some libraries that limit a call's time."""


class Mute(BaseException):
    """Cannot be shown."""

    def __str__(self) -> str:
        raise PanicException("no text")

    __repr__ = __str__


class MuteError(ValueError):
    """Cannot be shown either, and is an `Exception`."""

    def __str__(self) -> str:
        raise PanicException("no text")

    __repr__ = __str__


def group() -> BaseException:
    return BaseExceptionGroup("several", [PanicException("one"), ValueError("two")])


ERRORS: list[Callable[[], BaseException]] = [
    PanicException,
    group,
    GeneratorExit,
    asyncio.CancelledError,
    StopIteration,
    Mute,
    MuteError,
]
RAISING = pytest.mark.parametrize("make", ERRORS, ids=lambda make: make.__name__)
FORMS = pytest.mark.parametrize("form", ["sync", "async", "suspended", "generator", "async generator"])


@pytest.fixture
def stand() -> EngineFixture:
    """Queues of the test's own."""
    return EngineFixture()


def as_form(form: str, call: Callable[[Any], None]) -> Callable[[Any], Any]:
    """A function of a form that makes a call and then sends its message on."""

    def sync(number: Any) -> Any:
        call(number)
        return "out", number

    async def asynchronous(number: Any) -> Any:
        call(number)
        return "out", number

    async def suspended(number: Any) -> Any:
        await asyncio.sleep(0)
        call(number)
        await asyncio.sleep(0)
        return "out", number

    def generator(number: Any) -> Any:
        yield "out", number
        call(number)

    async def async_generator(number: Any) -> Any:
        yield "out", number
        await asyncio.sleep(0)
        call(number)

    forms: list[Any] = [sync, asynchronous, suspended, generator, async_generator]
    return dict(zip(["sync", "async", "suspended", "generator", "async generator"], forms, strict=True))[form]


def expect(stand: EngineFixture, engine: Any, sent: list[Any], dead: list[Any]) -> list[str]:
    """Drain it; which messages were sent and which are dead letters. Returns the types of the errors."""
    drain(engine)
    assert sorted(json.loads(body or b"null") for body in stand.bodies("out")) == sent
    letters = stand.take("dead")
    assert sorted(json.loads(letter.message or b"null") for letter in letters) == dead
    assert stand.bodies("in") == []
    return [read(letter).error_type for letter in letters]


@FORMS
@RAISING
def test_the_function_may_raise_anything(stand: EngineFixture, form: str, make: Callable[[], BaseException]) -> None:
    """One call fails, is tried again and dead-lettered; the others do not notice."""

    def call(number: int) -> None:
        if number == 2:
            raise make()

    stand.numbers(5)

    [error_type] = expect(stand, stand.engine(as_form(form, call), dead_letters=True), [0, 1, 3, 4], [2])

    assert error_type in {type(make()).__name__, "RuntimeError"}  # a coroutine turns StopIteration into one


@pytest.mark.parametrize("form", ["sync", "async", "suspended", "generator", "async generator"])
@RAISING
def test_a_whole_batch_fails_together(stand: EngineFixture, form: str, make: Callable[[], BaseException]) -> None:
    """The messages of that batch, and no others."""

    def call(numbers: list[int]) -> None:
        if 2 in numbers:
            raise make()

    stand.numbers(5)
    engine = stand.engine(
        as_form(form, call), source=stand.memory("in", batch=True), dead_letters=True, batch_size=2, concurrency=1
    )
    drain(engine)

    assert [json.loads(body or b"") for body in stand.bodies("out")] == [[0, 1], [4]]
    assert sorted(stand.bodies("dead"), key=repr) == [b"2", b"3"]
    assert stand.bodies("in") == []


@pytest.mark.parametrize("form", ["generator", "async generator"])
def test_a_generator_may_raise_while_it_is_closed(stand: EngineFixture, form: str) -> None:
    """One of its outputs is not good, so it is closed, and does not like that. It is closed before the next call."""
    log: list[str] = []

    def sync(number: int) -> Any:
        log.append(f"begin {number}")
        try:
            yield ("out", number) if number != 1 else ("nowhere", 1)
        finally:
            log.append(f"end {number}")
            if number == 1:
                raise PanicException

    async def asynchronous(number: int) -> Any:
        log.append(f"begin {number}")
        try:
            yield ("out", number) if number != 1 else ("nowhere", 1)
        finally:
            await asyncio.sleep(0)
            log.append(f"end {number}")
            if number == 1:
                raise PanicException

    stand.numbers(3)
    function = sync if form == "generator" else asynchronous

    expect(stand, stand.engine(function, dead_letters=True, concurrency=1, retry={"max_attempts": 1}), [0, 2], [1])

    assert log == [f"{what} {number}" for number in range(3) for what in ("begin", "end")]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@RAISING
def test_a_validator_may_raise_anything(
    stand: EngineFixture, asynchronous: bool, make: Callable[[], BaseException]
) -> None:
    """It is an invalid message, with the others of its batch valid."""

    class Number(BaseModel):
        value: int

        @field_validator("value")
        @classmethod
        def check(cls, value: int) -> int:
            if value == 1:
                raise make()
            return value

    def sync(number: Number) -> Any:
        return "out", number.value

    async def also_async(number: Number) -> Any:
        return "out", number.value

    stand.put(b'{"value": 0}', b'{"value": 1}', b'{"value": 2}')
    source = stand.memory("in", data_model=Number)

    drain(stand.engine(also_async if asynchronous else sync, source=source, dead_letters=True))

    assert sorted(stand.bodies("out"), key=repr) == [b"0", b"2"]
    [letter] = stand.take("dead")
    assert (letter.message, read(letter).stage) == (b'{"value": 1}', "validate")


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@RAISING
def test_a_models_serializer_may_raise_anything(
    stand: EngineFixture, asynchronous: bool, make: Callable[[], BaseException]
) -> None:
    """An output that cannot be written is a failed call at the stage output."""

    class Out(BaseModel):
        value: int

        @model_serializer
        def write(self) -> Any:
            if self.value == 1:
                raise make()
            return self.value

    def sync(number: int) -> Any:
        return "out", Out(value=number)

    async def also_async(number: int) -> Any:
        return "out", Out(value=number)

    stand.numbers(3)

    drain(stand.engine(also_async if asynchronous else sync, dead_letters=True))

    assert sorted(stand.bodies("out"), key=repr) == [b"0", b"2"]
    [letter] = stand.take("dead")
    assert (letter.message, read(letter).stage) == (b"1", "output")


@RAISING
def test_a_serializer_and_a_handler_of_ones_own_may_raise_anything(
    stand: EngineFixture, make: Callable[[], BaseException]
) -> None:
    """On the way in and on the way out."""

    class Letters(Serializer):
        format = "letters"

        def deserialize(self, body: bytes) -> Any:
            if body == b"in":
                raise make()
            return body.decode()

        def serialize(self, obj: Any) -> bytes:
            if obj == "out":
                raise make()
            return str(obj).encode()

    class Handler(ModelHandler):
        def construct(self, data: Any, data_model: Any) -> Any:  # noqa: ARG002
            if data == "model":
                raise make()
            return data

        def deconstruct(self, obj: Any, data_model: Any) -> Any:  # noqa: ARG002
            if obj == "plain":
                raise make()
            return obj

    keys: dict[str, Any] = {"serializer": Letters, "model_handler": Handler, "data_model": str}
    stand.put(b"a", b"in", b"model", b"out", b"plain", b"b")
    engine = stand.engine(
        lambda text: ("out", text),
        source=stand.memory("in", **keys),
        targets=[stand.memory("out", **keys)],
        dead_letters=True,
    )
    drain(engine)

    assert stand.bodies("out") == [b"a", b"b"]
    stages = {letter.message: read(letter).stage for letter in stand.take("dead")}
    assert stages == {b"in": "decode", b"model": "validate", b"out": "output", b"plain": "output"}


class Hostile(str):
    """The name of a queue that cannot be compared, hashed or shown."""

    __slots__ = ()

    def _refuse(self, *_: Any) -> Any:
        raise PanicException

    __eq__ = __hash__ = __str__ = __repr__ = _refuse  # type: ignore[assignment]


class HostileHeaders(dict[str, str]):
    """Headers that cannot be read."""

    def items(self) -> Any:
        raise PanicException

    __bool__ = items


@pytest.mark.parametrize(
    "result",
    [(Hostile("out"), 1), ("out", 1, {"headers": HostileHeaders(a="b")}), ("out", 1, HostileHeaders(a="b"))],
    ids=["queue", "headers", "options"],
)
def test_what_the_function_returned_may_raise_anything(stand: EngineFixture, result: Any) -> None:
    """While its outputs are looked at."""
    stand.numbers(3)

    expect(
        stand,
        stand.engine(lambda number: result if number == 1 else ("out", number), dead_letters=True),
        [0, 2],
        [1],
    )


# -- numbers


class OwnRetry(Retry):
    """A class of the user's, which does not call the constructor above it."""

    def __init__(self, delay: Any) -> None:
        self.delay = delay


DELAYS = [Decimal(5), math.nan, math.inf, -1, -1.5, True, "5", timedelta(seconds=5), 1e300, 10**400]


@pytest.mark.parametrize("delay", DELAYS, ids=repr)
@pytest.mark.parametrize("retry", [Retry, OwnRetry], ids=["Retry", "own class"])
def test_a_retry_with_an_impossible_delay_is_a_failed_call(stand: EngineFixture, retry: Any, delay: Any) -> None:
    """With a sentence that says why; its neighbours go on."""

    def function(number: int) -> Any:
        if number == 1:
            raise retry(delay)
        return "out", number

    stand.numbers(3)
    drain(stand.engine(function, dead_letters=True))

    assert sorted(stand.bodies("out"), key=repr) == [b"0", b"2"]
    [letter] = stand.take("dead")
    assert letter.message == b"1"
    assert "delay is" in read(letter).error_text


@pytest.mark.parametrize("delay", DELAYS, ids=repr)
def test_an_output_with_an_impossible_delay_is_a_failed_call(stand: EngineFixture, delay: Any) -> None:
    """The same for outputs."""
    stand.numbers(3)

    expect(
        stand,
        stand.engine(lambda n: ("out", n, {"delay": delay}) if n == 1 else ("out", n), dead_letters=True),
        [0, 2],
        [1],
    )


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
