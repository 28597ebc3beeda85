"""What a function may raise, and the forms of a function that raises it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from core.tests.engine_fixture import EngineFixture, drain

from penstock.dead_letters import read


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
