"""Resources: opened once in a worker, given by name, closed in reverse order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from penstock.engine import Engine
from penstock.errors import FunctionError, PenstockError
from penstock.message import QueueMessage
from penstock.middleware import Call
from penstock.testing import Harness
from penstock.worker.worker import Worker

from .engine_fixture import TIMEOUT, EngineFixture, drain, running, settings, until


class Log(list[str]):
    """What happened, in order; makes resources that write to it."""

    def generator(self, name: str) -> Callable[[], Iterator[str]]:
        """A resource that is not async."""

        def resource() -> Iterator[str]:
            self.append(f"open {name}")
            yield name.upper()
            self.append(f"close {name}")

        resource.__name__ = name
        return resource


def bare(function: Callable[..., Any] | None = None, *resources: Callable[..., Any], **more: Any) -> Engine:
    """An engine from "in" to "out", in memory, with resources."""
    queues = {name: {"connector": "memory"} for name in ("in", "out", "dead")}
    app = Engine("in", ["out"], dead_letter_queue="dead", queue_config=queues, retry={"max_attempts": 1}, **more)
    for resource in resources:
        app.resource(resource)
    if function is not None:
        app.stream_app(function)
    return app


def run(app: Engine, *bodies: Any) -> list[Any]:
    """What the engine makes of some messages, in a harness."""
    with Harness(app) as harness:
        for body in bodies:
            harness.send("in", body)
        harness.run()
        assert not harness.dead_letters()
        return harness.sent("out")


def test_each_kind_of_resource_is_opened_once_and_given_by_name() -> None:
    """A generator, an async generator, a function, an async function; closed in reverse order."""
    log = Log()

    async def second() -> AsyncIterator[str]:
        log.append("open second")
        await asyncio.sleep(0)
        yield "SECOND"
        await asyncio.sleep(0)
        log.append("close second")

    def third() -> str:
        log.append("open third")
        return "THIRD"

    async def fourth() -> str:
        await asyncio.sleep(0)
        log.append("open fourth")
        return "FOURTH"

    def function(number: int, first: str, second: str, third: str, fourth: str) -> tuple[str, str]:
        log.append(f"call {number}")
        return ("out", " ".join([first, second, third, fourth]))

    sent = run(bare(function, log.generator("first"), second, third, fourth), 1, 2)

    assert sent == ["FIRST SECOND THIRD FOURTH"] * 2
    assert log == [
        "open first", "open second", "open third", "open fourth", "call 1", "call 2", "close second", "close first",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["sync", "async", "generator", "async generator", "batch", "context", "first"])
def test_each_kind_of_function_takes_resources(kind: str) -> None:
    """In any place, beside `msg_ctx`."""

    def sync(number: int, *, db: str) -> tuple[str, str]:
        return ("out", f"{number} {db}")

    async def coroutine(number: int, db: str) -> tuple[str, str]:
        await asyncio.sleep(0)
        return ("out", f"{number} {db}")

    def generator(number: int, db: str) -> Iterator[tuple[str, str]]:
        yield ("out", f"{number} {db}")

    async def async_generator(number: int, db: str) -> AsyncIterator[tuple[str, str]]:
        yield ("out", f"{number} {db}")

    def batch(numbers: list[int], db: str) -> list[tuple[str, str]]:
        return [("out", f"{number} {db}") for number in numbers]

    def context(number: int, msg_ctx: QueueMessage, db: str) -> tuple[str, str]:
        assert msg_ctx.attempts == 1
        return ("out", f"{number} {db}")

    def first(db: str, number: int, /) -> tuple[str, str]:
        return ("out", f"{number} {db}")

    functions = [sync, coroutine, generator, async_generator, batch, context, first]
    function = dict(zip(["sync", "async", "generator", "async generator", "batch", "context", "first"], functions,
                        strict=True))[kind]  # fmt: skip
    if kind == "first":
        with pytest.raises(FunctionError, match=r"db is given by name; put the '/' before it"):
            bare(function, Log().generator("db"))
        return
    stand = EngineFixture()
    stand.put(b"1")
    app = bare(None, Log().generator("db"))
    app.configure([stand.memory("in", batch=kind == "batch"), stand.memory("out"), stand.raw("dead")])
    app.stream_app(function)
    drain(app)
    assert stand.bodies() == [b'"1 DB"']


def test_resources_take_resources_and_only_what_is_needed_is_opened() -> None:
    """Whatever is needed for something that is needed."""
    log = Log()
    app = bare(None, log.generator("settings"), log.generator("unused"))

    @app.resource
    async def db(settings: str) -> AsyncIterator[str]:
        log.append(f"open db of {settings}")
        yield "DB"
        log.append("close db")

    @app.stream_app
    def function(number: int, db: str) -> tuple[str, str]:
        return ("out", f"{number} {db}")

    assert run(app, 1) == ["1 DB"]
    assert log == ["open settings", "open db of SETTINGS", "close db", "close settings"]
    assert function(1, "mine") == ("out", "1 mine")


def test_middleware_takes_resources() -> None:
    """A function that the program gives."""
    log = Log()

    def note(_call: Call, db: str) -> Iterator[None]:
        log.append(f"note {db}")
        yield

    def function(number: int) -> tuple[str, int]:
        return ("out", number)

    assert run(bare(function, log.generator("db"), middleware=[note]), 1) == [1]
    assert log == ["open db", "note DB", "close db"]


@pytest.mark.parametrize("kind", ["generator", "async", "function"])
def test_a_failure_at_opening_is_told_and_closes_what_is_open(kind: str) -> None:
    """Which resource, where, and why; no message is touched."""
    log, stand = Log(), EngineFixture()
    stand.put(b"1")

    def generator() -> Iterator[str]:
        raise ConnectionError("no route to postgresql://me:geheim@db/")
        yield ""

    async def coroutine() -> str:
        raise ConnectionError("no route to postgresql://me:geheim@db/")

    def function() -> str:
        raise ConnectionError("no route to postgresql://me:geheim@db/")

    broken = {"generator": generator, "async": coroutine, "function": function}[kind]
    broken.__name__ = "broken"
    app = bare(lambda number, first, broken: None, log.generator("first"), broken)  # noqa: ARG005
    app.configure([stand.memory("in"), stand.memory("out"), stand.raw("dead")])

    with pytest.raises(PenstockError) as raised:
        drain(app)

    told = str(raised.value)
    assert told.startswith("engine 'lambda': resource 'broken' cannot be opened (")
    assert "test_resources.py:" in told
    assert told.endswith("): ConnectionError: no route to postgresql://********@db/")
    assert isinstance(raised.value.__cause__, ConnectionError)
    assert log == ["open first", "close first"]
    assert stand.bodies("in") == [b"1"]


def test_what_is_open_is_closed_after_an_engine_failed(caplog: pytest.LogCaptureFixture) -> None:
    """Each of them, even if one fails while it closes."""
    log, stand = Log(), EngineFixture()
    stand.put(b"x")
    app = bare(None, log.generator("first"))

    @app.resource
    def second() -> Iterator[str]:
        yield "SECOND"
        raise OSError("already gone")

    app.stream_app(lambda number, first, second: None)  # noqa: ARG005
    app.dead_letter_queue = None
    app.configure([stand.memory("in"), stand.memory("out")])

    with pytest.raises(PenstockError, match="not valid json"):
        drain(app)

    assert log == ["open first", "close first"]
    assert "resource 'second' failed while it was closed" in caplog.text
    assert "already gone" in caplog.text


@pytest.mark.parametrize(("yields", "problem"), [(0, "it yields nothing"), (2, "a second time")])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_resource_yields_once(kind: str, yields: int, problem: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is an error at the start, a second time one at the end."""

    def sync() -> Iterator[int]:
        yield from range(yields)

    async def asynchronous() -> AsyncIterator[int]:
        for number in range(yields):
            yield number

    function = sync if kind == "sync" else asynchronous
    function.__name__ = "it"
    stand = EngineFixture()
    app = bare(lambda number, it: None, function)  # noqa: ARG005
    app.configure([stand.memory("in"), stand.memory("out"), stand.raw("dead")])

    if yields:
        drain(app)
        assert problem in caplog.text
    else:
        with pytest.raises(PenstockError, match=problem):
            drain(app)


def test_engines_of_a_worker_share_what_one_function_opens() -> None:
    """It is closed when the last of them has ended."""
    log, stand = Log(), EngineFixture()
    db = log.generator("db")
    engines = []
    for name in ("a", "b"):
        app = Engine(name, queue_config=[stand.memory("a"), stand.memory("b")])
        app.resource(db)
        app.stream_app(lambda number, db: log.append(f"{number} {db}"))
        engines.append(app)
        stand.put(b"1", queue=name)

    drain(*engines)

    assert log == ["open db", "1 DB", "1 DB", "close db"]


def test_a_stop_does_not_wait_for_a_resource_that_hangs_while_it_opens() -> None:
    """Its thread is left; what it opens in the end is closed there."""
    stand, release, closed = EngineFixture(), threading.Event(), threading.Event()

    def slow() -> Iterator[str]:
        release.wait(30)
        try:
            yield "SLOW"
        finally:
            closed.set()

    app = bare(lambda number, slow: None, slow)  # noqa: ARG005
    app.configure([stand.memory("in"), stand.memory("out"), stand.raw("dead")])

    async def main() -> None:
        async with running(app) as run:
            await until(lambda: any(each.name == "penstock-resource" for each in threading.enumerate()))
            run.worker.stop()
            await run.ended()

    asyncio.run(main())
    release.set()
    assert closed.wait(30)


def test_a_resource_that_hangs_while_it_closes_is_left(caplog: pytest.LogCaptureFixture) -> None:
    """After `shutdown_timeout`."""
    stand = EngineFixture()

    async def stuck() -> AsyncIterator[str]:
        yield "STUCK"
        await asyncio.sleep(60)

    app = bare(lambda number, stuck: None, stuck)  # noqa: ARG005
    app.configure([stand.memory("in"), stand.memory("out"), stand.raw("dead")])

    async def main() -> None:
        async with asyncio.timeout(TIMEOUT):
            await Worker([app], settings(shutdown_timeout=0.05), drain=True).serve()

    asyncio.run(main())

    assert "resource 'stuck' is not closed after 0.05 s" in caplog.text


def test_an_async_resource_lives_in_one_task() -> None:
    """So a task group may be open around its yield."""
    seen: list[str] = []

    async def group() -> AsyncIterator[asyncio.TaskGroup]:
        async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
            yield tasks
        seen.append("closed")

    async def function(number: int, group: asyncio.TaskGroup) -> tuple[str, int]:
        return ("out", await group.create_task(asyncio.sleep(0, number)))

    assert run(bare(function, group), 7) == [7]
    assert seen == ["closed"]


def test_the_harness_replaces_resources() -> None:
    """What is replaced is not opened, nor what only that needs."""
    log = Log()
    app = bare(None, log.generator("settings"))

    @app.resource
    def db(settings: str) -> str:
        raise AssertionError(settings)

    app.stream_app(lambda number, db: ("out", f"{number} {db}"))

    with Harness(app, resources={"db": "fake"}) as harness:
        harness.send("in", 1)
        harness.run()
        assert harness.sent("out") == ["1 fake"]
    assert log == []


def test_the_harness_refuses_a_replacement_that_replaces_nothing() -> None:
    """With the nearest name."""
    app = bare(lambda number, db: None, Log().generator("db"))  # noqa: ARG005

    with pytest.raises(PenstockError, match=r"'bd' is no.* resource of the engines in this harness; these are 'db'"):
        Harness(app, resources={"bd": 1})


def test_mistakes_are_refused_where_they_are_written() -> None:
    """Names that are taken or unknown."""
    app = bare(None, Log().generator("db"))

    with pytest.raises(FunctionError, match="resource 'db' is declared twice"):
        app.resource(Log().generator("db"))
    with pytest.raises(FunctionError, match=r"resource 'cache' has a parameter 'bd', which is not a resource that is"):

        @app.resource
        def cache(bd: str) -> str:
            return bd

    with pytest.raises(FunctionError, match=r"one message .* and may take msg_ctx beside it, and the resources db"):
        app.stream_app(lambda number, bd: None)  # noqa: ARG005
    with pytest.raises(FunctionError, match="a resource is a function with a name that a parameter may have, not"):
        app.resource(lambda: 1)

    def unknown(_call: Call, bd: str) -> Iterator[None]:
        yield

    with pytest.raises(FunctionError, match=r"middleware .*unknown has a parameter 'bd', which is not a resource"):
        drain(bare(lambda _number: None, middleware=[unknown]))
