"""Each call of the function has a context of its own: what it sets there is seen by itself alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any

import pytest
from core.tests.engine_fixture import EngineFixture, drain
from core.tests.scripted import Sink, Source
from pydantic import BaseModel, field_validator, model_serializer

tenant: ContextVar[Any] = ContextVar("tenant", default="nobody")
program: ContextVar[str] = ContextVar("program", default="unset")

COUNT = 40


def forms(seen: dict[Any, Any]) -> dict[str, Callable[[Any], Any]]:
    """Functions that note the tenant they find, set their own, and send the tenant that they find at the end."""

    def enter(number: Any) -> None:
        key = number if isinstance(number, int) else tuple(number)
        seen[key] = (tenant.get(), program.get())
        tenant.set(number)

    def sync(number: Any) -> Any:
        enter(number)
        return "out", tenant.get()

    async def asynchronous(number: Any) -> Any:
        enter(number)
        return "out", tenant.get()

    async def suspended(number: Any) -> Any:
        enter(number)
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        return "out", tenant.get()

    async def in_tasks(number: Any) -> Any:
        enter(number)

        async def inner() -> Any:
            await asyncio.sleep(0)
            return tenant.get()

        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            task = tasks.create_task(inner())
        return "out", task.result()

    async def in_a_thread(number: Any) -> Any:
        enter(number)
        return "out", await asyncio.to_thread(tenant.get)

    def generator(number: Any) -> Any:
        enter(number)
        yield "out", tenant.get()

    async def async_generator(number: Any) -> Any:
        enter(number)
        await asyncio.sleep(0)
        yield "out", tenant.get()

    found = (sync, asynchronous, suspended, in_tasks, in_a_thread, generator, async_generator)
    return {each.__name__: each for each in found}


FORMS = pytest.mark.parametrize("form", list(forms({})))


@FORMS
@pytest.mark.parametrize("concurrency", [1, 3])
def test_what_a_call_sets_is_not_seen_by_another_one(stand: EngineFixture, form: str, concurrency: int) -> None:
    """Messages that arrive together; what the program had set before the start is seen by all of them."""
    seen: dict[Any, Any] = {}
    source, sink = Source([b"%d" % number for number in range(COUNT)]), Sink()
    engine = stand.engine(forms(seen)[form], source=source.queue(), targets=[sink.queue()], concurrency=concurrency)

    def main() -> None:
        program.set("set before")
        drain(engine)

    copy_context().run(main)

    assert seen == dict.fromkeys(range(COUNT), ("nobody", "set before"))
    assert sorted(map(int, filter(None, sink.bodies))) == list(range(COUNT))


@FORMS
def test_what_a_call_for_a_batch_sets_is_not_seen_by_the_next(stand: EngineFixture, form: str) -> None:
    """A whole batch is one call."""
    seen: dict[Any, Any] = {}
    source, sink = Source([b"%d" % number for number in range(COUNT)]), Sink()
    engine = stand.engine(
        forms(seen)[form], source=source.queue(batch=True), targets=[sink.queue()], concurrency=1, batch_size=8
    )

    drain(engine)

    assert len(seen) >= COUNT // 8
    assert set(seen.values()) == {("nobody", "unset")}
    assert sum(len(numbers) for numbers in seen) == COUNT


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_a_failed_call_leaves_nothing_to_its_next_try(stand: EngineFixture, asynchronous: bool) -> None:
    """Nor to other messages."""
    seen: list[Any] = []

    def sync(number: int) -> None:
        seen.append(tenant.get())
        tenant.set(number)
        if len(seen) < 3:
            raise LookupError

    async def also_async(number: int) -> None:
        sync(number)

    stand.numbers(1)

    drain(stand.engine(also_async if asynchronous else sync))

    assert seen == ["nobody"] * 3


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_an_output_is_written_in_the_context_of_its_call(stand: EngineFixture, asynchronous: bool) -> None:
    """A model's serializer sees what the function set, as it did when both ran in one context."""

    class Out(BaseModel):
        @model_serializer
        def write(self) -> Any:
            return tenant.get()

    def sync(number: int) -> Any:
        tenant.set(number)
        return "out", Out()

    async def also_async(number: int) -> Any:
        return sync(number)

    stand.numbers(5)

    drain(stand.engine(also_async if asynchronous else sync, concurrency=1))

    assert stand.bodies("out") == [b"%d" % number for number in range(5)]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_what_a_validator_sets_does_not_stay(stand: EngineFixture, asynchronous: bool) -> None:
    """Messages that come later, after others were worked on, do not see it."""
    found: list[Any] = []

    class Number(BaseModel):
        value: int

        @field_validator("value")
        @classmethod
        def check(cls, value: int) -> int:
            found.append(tenant.get())
            tenant.set(value)
            return value

    def sync(number: Number) -> None: ...

    async def also_async(number: Number) -> None: ...

    function = also_async if asynchronous else sync
    for _ in range(2):
        stand.put(b'{"value": 1}')
        drain(stand.engine(function, source=stand.memory("in", data_model=Number)))

    assert found == ["nobody"] * 2
