"""Middleware, resources and routes of a program."""

# ruff: noqa: ARG002  (a contract has them)

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from penstock import Engine
from penstock.builtin.rate_limit import RateLimit
from penstock.builtin.timeout import Timeout
from penstock.events import Event, Failed, Settled
from penstock.middleware import Call, EngineInfo, Limit, Middleware, Wrapper
from penstock.routes import Report, Response, json_response
from penstock.testing import Harness


def sync(call: Call) -> Iterator[None]:
    yield
    call.add_header("outputs", str(len(call.outputs)))


async def asynchronous(call: Call) -> AsyncIterator[None]:
    if call.header("seen") is not None:
        call.skip()
    yield


class Counting(Middleware):
    event: str = "call"

    def around(self, engine: EngineInfo) -> Wrapper:
        def count(_call: Call) -> Iterator[None]:
            engine.count(self.event, 1)
            yield

        return count


class Closed(Middleware):
    def limit(self, engine: EngineInfo) -> Limit:
        return Never()


class Never:
    def room(self, now: float) -> int:
        return 0

    def due_in(self, now: float) -> float:
        return 1.0

    def took(self, count: int, now: float) -> None:
        pass


app = Engine(
    "orders",
    queue_config={"orders": {"connector": "memory"}},
    middleware=[sync, asynchronous, Counting(event="x"), Timeout(seconds=5), RateLimit(per_second=3), "timeout",
                {"name": "timeout", "seconds": 3}],
)  # fmt: skip


@app.resource
def dsn() -> str:
    return "sqlite://"


@app.resource
async def pool(dsn: str) -> AsyncIterator[list[str]]:
    yield [dsn]


@app.stream_app
async def work(order: dict[str, int], pool: list[str]) -> None:
    del order, pool


@app.observer
def watch(event: Event) -> None:
    if isinstance(event, Settled) and event.outcome == "dead_lettered":
        print(len(event.messages), event.stage)
    elif isinstance(event, Failed):
        print(event.failures[0].error, event.became)


@app.route("/pool")
def size(report: Report) -> Response:
    return json_response(dict(report()))


def test() -> None:
    with Harness(work, resources={"pool": ["fake"]}) as harness:
        harness.run()
    closed: list[Middleware] = [Closed()]
    del closed
