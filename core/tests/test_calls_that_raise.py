"""Whatever a user's code raises is a failed call, and its neighbours go on; only an exit concerns the process."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from core.tests.engine_fixture import EngineFixture, drain
from core.tests.raising import FORMS, RAISING, PanicException, as_form, expect
from pydantic import BaseModel, field_validator, model_serializer

from penstock.dead_letters import read
from penstock.errors import Retry
from penstock.model_handlers import ModelHandler
from penstock.serializers import Serializer


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
