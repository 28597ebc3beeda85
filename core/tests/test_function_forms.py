"""All forms of function, and what they get beside the message."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from core.tests.engine_fixture import EngineFixture, drain, out

from penstock.dead_letters import read
from penstock.message import QueueMessage, Record
from penstock.routing import Output
from penstock.serializers import Serializer

# -- all forms of function


def test_a_generators_outputs_are_sent(stand: EngineFixture) -> None:
    """Each item that is yielded is an output."""

    def function(number: int) -> Iterator[tuple[str, int]]:
        for step in range(number):
            yield "out", step

    stand.numbers(3)

    drain(stand.engine(function))

    assert out(stand) == [0, 0, 1]


def test_an_async_function_is_awaited(stand: EngineFixture) -> None:
    """A coroutine function's result means the same."""

    async def function(number: int) -> Any:
        return ("out", number) if number else None

    stand.numbers(3)

    drain(stand.engine(function))

    assert out(stand) == [1, 2]


def test_an_async_generators_outputs_are_sent(stand: EngineFixture) -> None:
    """Each item that is yielded is an output."""

    async def function(number: int) -> AsyncIterator[Any]:
        for step in range(number):
            yield Output("out", step)

    stand.numbers(3)

    drain(stand.engine(function))

    assert out(stand) == [0, 0, 1]


@pytest.mark.parametrize("form", ["function", "coroutine", "generator", "async generator"])
def test_an_output_goes_out_as_it_was_when_it_was_returned(stand: EngineFixture, form: str) -> None:
    """What the function does to its object later changes nothing, however many messages travel together."""
    total = {"seen": 0}

    def count() -> tuple[str, dict[str, int]]:
        total["seen"] += 1
        return "out", total

    def function(number: int) -> Any:
        return count()

    async def coroutine(number: int) -> Any:
        return count()

    def generator(number: int) -> Iterator[Any]:
        yield count()
        yield count()

    async def async_generator(number: int) -> AsyncIterator[Any]:
        yield count()
        yield count()

    forms = {each.__name__.replace("_", " "): each for each in (function, coroutine, generator, async_generator)}
    stand.numbers(10)
    drain(stand.engine(forms[form]))

    assert [json.loads(body or b"")["seen"] for body in stand.bodies()] == list(range(1, total["seen"] + 1))


def test_a_generators_own_error_and_that_of_its_output_are_told_apart(stand: EngineFixture) -> None:
    """The first is the function's failure, with its own type; the second one of its output."""

    def function(number: int) -> Iterator[Any]:
        yield "out", number
        if number:
            raise KeyError("mine")
        yield "out", object()

    stand.numbers(2)
    drain(stand.engine(function, dead_letters=True))

    letters = {letter.record.message: letter for letter in map(read, stand.take("dead"))}
    assert (letters[b"1"].stage, letters[b"1"].error_type) == ("function", "KeyError")
    assert (letters[b"0"].stage, letters[b"0"].error_type) == ("output", "FunctionError")
    assert stand.bodies() == []


def test_a_serializer_that_makes_text_is_refused(stand: EngineFixture) -> None:
    """A producer could not tell which of its records a confirmation is about."""

    class Text(Serializer):
        def serialize(self, obj: Any) -> Any:
            return json.dumps(obj)

        def deserialize(self, body: bytes) -> Any:
            return json.loads(body)

    stand.numbers(1)
    target = stand.memory("out", serializer=Text, model_handler=None)
    drain(stand.engine(lambda number: ("out", number), targets=[target], dead_letters=True))

    (letter,) = map(read, stand.take("dead"))
    assert (
        "the serializer or model handler of queue 'out' made str of an output, and must make bytes" in letter.error_text
    )


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_nothing_of_a_generator_that_raises_is_sent(stand: EngineFixture, kind: str) -> None:
    """All outputs of a message are known before the first is sent."""

    def sync(number: int) -> Iterator[Any]:
        yield "out", number
        raise LookupError("in the middle")

    async def asynchronous(number: int) -> AsyncIterator[Any]:
        yield "out", number
        raise LookupError("in the middle")

    stand.numbers(2)

    drain(stand.engine(sync if kind == "sync" else asynchronous, dead_letters=True))

    assert out(stand) == []
    assert [read(letter).error_text for letter in stand.take("dead")] == ["in the middle"] * 2


def test_a_batch_function_gets_lists(stand: EngineFixture) -> None:
    """`batch: true`: one call for many messages, a list of models, a list of contexts."""
    calls: list[tuple[list[int], int]] = []

    def function(numbers: list[int], msg_ctx: list[QueueMessage]) -> list[Any]:
        calls.append((numbers, len(msg_ctx)))
        return [("out", sum(numbers))]

    stand.numbers(10)

    drain(stand.engine(function, source=stand.memory("in", batch=True)))

    assert [number for numbers, _ in calls for number in numbers] == list(range(10))
    assert all(len(numbers) == contexts for numbers, contexts in calls)
    assert sum(out(stand)) == 45
    assert len(calls) < 10


def test_an_async_batch_function_gets_lists(stand: EngineFixture) -> None:
    """The same, awaited."""
    calls: list[list[int]] = []

    async def function(numbers: list[int]) -> Any:
        calls.append(numbers)
        return [("out", number) for number in numbers]

    stand.numbers(10)

    drain(stand.engine(function, source=stand.memory("in", batch=True)))

    assert out(stand) == list(range(10))
    assert len(calls) < 10


def test_a_batch_function_may_do_with_its_lists_what_it_likes(stand: EngineFixture) -> None:
    """Emptied as it works through them, say."""

    def function(numbers: list[int], msg_ctx: list[QueueMessage]) -> list[tuple[str, int]]:
        found = []
        while numbers:
            found.append(("out", numbers.pop()))
            msg_ctx.pop()
        return found

    stand.numbers(3)
    drain(stand.engine(function, source=stand.memory("in", batch=True)))

    assert sorted(stand.bodies()) == [b"0", b"1", b"2"]
    assert stand.bodies("in") == []


def test_a_batch_that_is_requeued_comes_again_whole(stand: EngineFixture) -> None:
    """False stands for all of its messages."""
    calls: list[list[int]] = []

    def function(numbers: list[int]) -> bool:
        calls.append(numbers)
        return len(calls) > 1

    stand.numbers(3)

    drain(stand.engine(function, source=stand.memory("in", batch=True)))

    assert calls == [[0, 1, 2], [0, 1, 2]]


def test_an_invalid_message_leaves_its_batch_and_the_others_stay(stand: EngineFixture) -> None:
    """A batch function never sees what does not validate."""
    seen: list[int] = []

    def function(numbers: list[int]) -> None:
        seen.extend(numbers)

    stand.put(b"1", b"nonsense", b"3")

    drain(stand.engine(function, source=stand.memory("in", batch=True), dead_letters=True))

    assert (seen, stand.bodies("dead")) == ([1, 3], [b"nonsense"])


# -- msg_ctx


def test_msg_ctx_is_the_connectors_own_handle(stand: EngineFixture) -> None:
    """Without an annotation it is what the connector settles by."""
    handles: list[Any] = []

    def function(number: int, msg_ctx: Any) -> None:
        handles.append(msg_ctx)

    stand.numbers(2)

    drain(stand.engine(function))

    assert len(set(handles)) == 2
    assert all(isinstance(handle, int) for handle in handles)


def test_msg_ctx_is_the_whole_message_where_it_is_annotated_so(stand: EngineFixture) -> None:
    """Key, headers, attempts and position are there for the asking, whatever the order of the parameters."""
    seen: list[tuple[Any, ...]] = []

    def function(msg_ctx: QueueMessage, number: int) -> None:
        seen.append((number, msg_ctx.message, msg_ctx.key, list(msg_ctx.headers), msg_ctx.attempts, msg_ctx.position))

    stand.put(Record(b"1", b"k", [("h", b"v")]))

    drain(stand.engine(function))

    assert seen == [(1, b"1", b"k", [("h", b"v")], 1, "1")]
