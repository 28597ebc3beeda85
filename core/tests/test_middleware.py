"""Middleware: what stands around every call of a function."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import pytest

from penstock.engine import Engine
from penstock.errors import ConfigError, FunctionError, Retry
from penstock.message import QueueMessage, Record
from penstock.middleware import Call, Middleware
from penstock.observability.metric_definitions import FUNCTION_FAILURES, MIDDLEWARE_EVENTS, SETTLED
from penstock.routing import Output
from penstock.testing import Harness
from penstock.worker.worker import Worker

from .engine_fixture import EngineFixture, drain


def plain(number: int) -> tuple[str, int]:
    """A plain function."""
    return ("out", number + 1)


async def coroutine(number: int) -> tuple[str, int]:
    """A coroutine function."""
    await asyncio.sleep(0)
    return ("out", number + 1)


def generator(number: int) -> Iterator[tuple[str, int]]:
    """A generator function."""
    yield ("out", number + 1)


async def async_generator(number: int) -> AsyncIterator[tuple[str, int]]:
    """An asynchronous generator function."""
    await asyncio.sleep(0)
    yield ("out", number + 1)


def batch(numbers: list[int]) -> list[tuple[str, int]]:
    """A function that takes a whole batch."""
    return [("out", number + 1) for number in numbers]


async def async_batch(numbers: list[int]) -> list[tuple[str, int]]:
    """The same, asynchronous."""
    await asyncio.sleep(0)
    return [("out", number + 1) for number in numbers]


KINDS = [plain, coroutine, generator, async_generator, batch, async_batch]


def run(
    stand: EngineFixture,
    function: Callable[..., Any],
    *middleware: Any,
    records: Sequence[bytes | Record] = (b"1",),
    **more: Any,
) -> Worker:
    """Run an engine with middleware over some messages."""
    takes_batch = function.__name__.endswith("batch")
    engine = stand.engine(
        function, source=stand.memory("in", batch=takes_batch), middleware=list(middleware), dead_letters=True, **more
    )
    stand.put(*records)
    return drain(engine)


def count(worker: Worker, metric: Any, label: str) -> int:
    """What the only engine has counted."""
    (metrics,) = worker.metrics.engines()
    return metrics.counts().get((metric, label), 0)


@pytest.mark.parametrize("function", KINDS, ids=lambda each: each.__name__)
def test_one_middleware_works_around_every_kind_of_function(function: Callable[..., Any]) -> None:
    """It sees the delivery, the model, the outputs, and adds a header to each output."""
    stand, seen = EngineFixture(), []

    def note(call: Call) -> Iterator[None]:
        seen.append((call.message.message, call.model, len(call.messages), list(call.outputs)))
        yield
        assert [(queue, record.message) for queue, record in call.outputs] == [("out", b"2")]
        seen.append(call.engine.function)
        call.add_header("seen", "yes")

    run(stand, function, note)

    assert seen == [(b"1", [1] if "batch" in function.__name__ else 1, 1, []), function.__name__]
    assert [(each.message, list(each.headers)) for each in stand.take()] == [(b"2", [("seen", b"yes")])]


@pytest.mark.parametrize("function", [plain, coroutine], ids=lambda each: each.__name__)
def test_the_first_middleware_is_the_outermost(function: Callable[..., Any]) -> None:
    """Its first part runs first, its last part last."""
    stand, order = EngineFixture(), []

    def named(name: str) -> Callable[[Call], Iterator[None]]:
        def middleware(_call: Call) -> Iterator[None]:
            order.append(f"{name} begins")
            yield
            order.append(f"{name} ends")

        return middleware

    run(stand, function, named("a"), named("b"))

    assert order == ["a begins", "b begins", "b ends", "a ends"]


def test_the_result_is_seen_and_the_model_may_be_replaced() -> None:
    """The function gets the model that the middleware puts into the call."""
    stand, results = EngineFixture(), []

    def double(call: Call) -> Iterator[None]:
        call.model *= 2
        yield
        results.append(call.result)

    run(stand, plain, double, records=[b"20"])

    assert results == [("out", 41)]
    assert stand.bodies() == [b"41"]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_exception_is_raised_at_the_yield_and_goes_on(kind: str) -> None:
    """Also past a middleware that catches it: a message is never lost to a forgotten `raise`."""
    stand, seen = EngineFixture(), []

    def fails(number: int) -> None:
        raise ValueError(f"no {number}")

    async def fails_async(number: int) -> None:
        await asyncio.sleep(0)
        raise ValueError(f"no {number}")

    def catches(_call: Call) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            seen.append(str(error))

    async def catches_async(_call: Call) -> AsyncIterator[None]:
        try:
            yield
        except ValueError as error:
            seen.append(str(error))

    function, middleware = (fails, catches) if kind == "sync" else (fails_async, catches_async)
    worker = run(stand, function, middleware)

    assert seen == ["no 1"] * 3
    assert count(worker, SETTLED, "dead_lettered") == 1


@pytest.mark.parametrize("function", [plain, coroutine, batch], ids=lambda each: each.__name__)
def test_skip_before_the_call_settles_the_message_without_it(function: Callable[..., Any]) -> None:
    """The message counts as processed, and has no outputs."""
    stand = EngineFixture()

    def skip(call: Call) -> Iterator[None]:
        call.skip()
        return
        yield

    worker = run(stand, function, skip)

    assert count(worker, SETTLED, "succeeded") == 1
    assert stand.bodies() == []


def test_skip_after_the_call_drops_its_failure() -> None:
    """Because the middleware says so by name."""
    stand = EngineFixture()

    def fails(_number: int) -> None:
        raise ValueError

    def forgive(call: Call) -> Iterator[None]:
        try:
            yield
        except ValueError:
            call.skip()

    worker = run(stand, fails, forgive)

    assert count(worker, SETTLED, "succeeded") == 1
    assert count(worker, FUNCTION_FAILURES, "ValueError") == 0


def test_a_middleware_may_raise_another_exception_instead() -> None:
    """Such as `Retry`, which requeues the message."""
    stand, tries = EngineFixture(), []

    def fails_once(number: int) -> tuple[str, int]:
        tries.append(number)
        if len(tries) == 1:
            raise ConnectionError
        return ("out", number)

    def retry(_call: Call) -> Iterator[None]:
        try:
            yield
        except ConnectionError as error:
            raise Retry(0.0) from error

    worker = run(stand, fails_once, retry)

    assert count(worker, SETTLED, "requeued") == 1
    assert stand.bodies() == [b"1"]


def test_an_invalid_output_is_seen_as_the_error_that_it_is() -> None:
    """And stays a failure of the stage "output"."""
    stand, seen = EngineFixture(), []

    def lost(_number: int) -> tuple[str, int]:
        return ("nowhere", 1)

    def note(_call: Call) -> Iterator[None]:
        try:
            yield
        except FunctionError as error:
            seen.append(str(error))
            raise

    run(stand, lost, note)

    assert "'nowhere'" in seen[0]
    (dead,) = stand.take("dead")
    assert dict(dead.headers)["penstock-error-stage"] == b"output"


@pytest.mark.parametrize("function", [plain, coroutine], ids=lambda each: each.__name__)
@pytest.mark.parametrize("wrong", ["returns", "twice"])
def test_a_middleware_yields_exactly_once_or_skips(function: Callable[..., Any], wrong: str) -> None:
    """A slip fails the call, and says which middleware; the message is not lost."""
    stand = EngineFixture()

    def slip(call: Call) -> Iterator[None]:
        if wrong == "returns" and call.model:
            return
        yield
        yield

    run(stand, function, slip)

    (dead,) = stand.take("dead")
    text = dict(dead.headers)["penstock-error-text"] or b""
    assert b"slip" in text
    assert (b"`skip()`" if wrong == "returns" else b"second time") in text
    assert stand.bodies() == []


@pytest.mark.parametrize("function", [coroutine, async_generator, async_batch], ids=lambda each: each.__name__)
def test_an_async_middleware_may_await(function: Callable[..., Any]) -> None:
    """Around async functions of each kind."""
    stand, seen = EngineFixture(), []

    async def wait(call: Call) -> AsyncIterator[None]:
        await asyncio.sleep(0)
        yield
        await asyncio.sleep(0)
        seen.append(len(call.outputs))

    run(stand, function, wait)

    assert seen == [1]


def test_an_async_middleware_around_a_sync_function_is_refused() -> None:
    """At the start, with what to do."""

    async def wait(_call: Call) -> AsyncIterator[None]:
        yield

    with pytest.raises(FunctionError, match=r"wait is written with `async def`, and the function .* is not async"):
        run(EngineFixture(), plain, wait)


def test_what_is_no_middleware_is_refused() -> None:
    """At the start."""
    with pytest.raises(FunctionError, match=r"middleware .*plain is not a middleware; give a function with one"):
        run(EngineFixture(), plain, plain)


def test_a_class_of_middleware_knows_its_engine_and_counts() -> None:
    """Its options are its fields."""
    stand = EngineFixture()

    class Counting(Middleware):
        event: str

        def around(self, engine: Any) -> Any:
            def count_calls(_call: Call) -> Iterator[None]:
                engine.count(self.event, 1)
                yield

            return count_calls

    worker = run(stand, plain, Counting(event="call"), records=[b"1", b"2"])

    assert count(worker, MIDDLEWARE_EVENTS, "call") == 2


def test_an_error_that_stops_the_engine_may_come_from_middleware() -> None:
    """From any thread; what is not settled is delivered again."""
    stand = EngineFixture()

    class Stopping(Middleware):
        def around(self, engine: Any) -> Any:
            def stop(_call: Call) -> Iterator[None]:
                engine.stop(ConfigError("enough"))
                yield

            return stop

    with pytest.raises(ConfigError, match="enough"):
        run(stand, plain, Stopping())


def test_an_output_s_own_header_wins_and_a_propagated_one_loses() -> None:
    """The middleware's stands between the two."""
    stand = EngineFixture()

    def own(_number: int) -> list[Output]:
        return [Output("out", 1, headers={"traceparent": "own"}), Output("out", 2)]

    def trace(call: Call) -> Iterator[None]:
        assert call.header("TraceParent") == b"theirs"
        call.add_header("traceparent", b"span")
        yield

    run(stand, own, trace, records=[Record(b"1", headers=[("traceparent", b"theirs")])])

    assert [list(each.headers) for each in stand.take()] == [
        [("traceparent", b"own")],
        [("traceparent", b"span")],
    ]


def test_a_harness_runs_the_middleware_too() -> None:
    """With what the configuration names, which stands outside."""
    order: list[str] = []

    def note(_call: Call) -> Iterator[None]:
        order.append("called")
        yield

    app = Engine(
        "in",
        ["out"],
        queue_config={
            "queues": {"in": {"connector": "memory"}, "out": {"connector": "memory"}},
            "engine": {"middleware": [{"name": "timeout", "seconds": 5}]},
        },
        middleware=[note],
    )
    app.stream_app(plain)

    with Harness(app) as harness:
        harness.send("in", 1)
        harness.run()
        assert harness.sent("out") == [2]
    assert order == ["called"]


def test_a_message_is_a_message() -> None:
    """The delivery that a middleware sees is the one that is settled."""
    stand, seen = EngineFixture(), []

    def note(call: Call) -> Iterator[None]:
        seen.append(call.message)
        yield

    run(stand, plain, note)

    assert isinstance(seen[0], QueueMessage)
    assert seen[0].attempts == 1
