"""What happens in a harness happens on the real thing: the same plans, run by a worker on real queues in memory."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import Engine, Output, QueueConfig, QueueMessage, Retry, Worker
from penstock.config.files import load
from penstock.config.model import WorkerSettings
from penstock.config.resolve import registry_for, resolve_queue
from penstock.dead_letters import read
from penstock.message import Record
from penstock.queues.queue import InputQueue, OutputQueue
from penstock.testing import Harness

SHORT = 0.002  # seconds of every wait: real ones are waited for
RETRY = {"max_attempts": 3, "initial_delay": SHORT, "factor": 1.0, "max_delay": SHORT, "jitter": 0.0}

_namespaces = itertools.count()

Step = str
"""What the function does at one call for a message."""

STEPS = ("raise", "later", "false", "illegal", "send", "none")


@dataclass
class Plan:
    """What is sent, and what the function does with it.

    Attributes:
        bodies: One a message; a number is a message of the plan, anything else is not a valid message.
        steps: For each number what the function does at its calls; after the last it sends.
        concurrency, batch: As in the settings.
        is_async: Whether the function is.
    """

    bodies: Sequence[bytes]
    steps: Mapping[int, Sequence[Step]]
    concurrency: int = 1
    batch: bool = False
    is_async: bool = False


@dataclass
class Outcome:
    """What became of it, in no order but that of each list."""

    calls: Counter[int] = field(default_factory=Counter)
    sent: list[tuple[bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]] = field(default_factory=list)
    dead: list[tuple[Any, ...]] = field(default_factory=list)
    left: int = 0


def engine(plan: Plan, queues: Any, outcome: Outcome) -> Engine:
    """The engine that follows a plan."""
    app = Engine(
        "in",
        ["out"],
        app_name="plan",
        dead_letter_queue="dlq",
        queue_config=queues,
        retry=RETRY,
        concurrency=plan.concurrency,
        metrics_port=None,
    )

    def step(number: int) -> Any:
        outcome.calls[number] += 1
        steps = plan.steps.get(number, ())
        what = steps[outcome.calls[number] - 1] if outcome.calls[number] <= len(steps) else "send"
        if what == "raise":
            raise ValueError(f"number {number}")
        if what == "later":
            raise Retry(SHORT, "not now")
        answers: dict[str, Any] = {
            "false": False,
            "none": None,
            "illegal": [("out", number), 5],
            "send": [("out", number), Output("out", -number, key=f"k{number}", headers={"h": str(number)})],
        }
        return answers[what]

    def each(number: int, msg_ctx: QueueMessage) -> Any:
        return step(number)

    async def each_async(number: int, msg_ctx: QueueMessage) -> Any:
        await asyncio.sleep(0)
        return step(number)

    def whole(numbers: list[int]) -> Any:
        return [item for number in numbers for item in step(number) or ()]

    async def whole_async(numbers: list[int]) -> Any:
        await asyncio.sleep(0)
        return whole(numbers)

    function: Any = (each, each_async, whole, whole_async)[2 * plan.batch + plan.is_async]
    app.stream_app(function)
    return app


def in_a_harness(plan: Plan) -> Outcome:
    """The plan in a harness."""
    outcome = Outcome()
    queues = [
        QueueConfig(name="in", data_model=int, batch=plan.batch),
        QueueConfig(name="out"),
        QueueConfig(name="dlq"),
    ]
    with Harness(engine(plan, queues, outcome)) as harness:
        for index, body in enumerate(plan.bodies):
            harness.send("in", body, key=f"in{index}", headers={"n": str(index)})
        harness.run()
        outcome.sent = [plain(record) for record in harness.records("out")]
        outcome.dead = [dead(QueueMessage(None, r.message, r.key, r.headers)) for r in harness.records("dlq")]
        outcome.left = harness.left
    return outcome


def on_real_queues(plan: Plan) -> Outcome:
    """The plan by a worker that drains real queues of the connector `memory`."""
    outcome = Outcome()
    connector = {"connector": "memory", "config": {"namespace": f"equivalence-{next(_namespaces)}"}}
    queues = {"in": {**connector, "data_model": int, "batch": plan.batch}, "out": connector, "dlq": connector}
    configuration = load({"queues": queues})
    registry = registry_for(configuration)

    async def take(name: str) -> list[QueueMessage]:
        async with InputQueue(resolve_queue(configuration, name, "input", registry=registry)) as queue:
            messages: list[QueueMessage] = []
            while more := await queue.consume(1000, 0.0):
                messages += more
            await queue.on_success(messages)
            return messages

    async def main() -> None:
        async with OutputQueue(resolve_queue(configuration, "in", "output", registry=registry)) as queue:
            await queue.produce([Record(body, b"in%d" % i, [("n", b"%d" % i)]) for i, body in enumerate(plan.bodies)])
        app = engine(plan, queues, outcome)
        await Worker([app], WorkerSettings(metrics_port=None), drain=True).serve()
        outcome.sent = [plain(message) for message in await take("out")]
        outcome.dead = [dead(message) for message in await take("dlq")]
        outcome.left = len(await take("in"))

    asyncio.run(main())
    return outcome


def plain(record: Record | QueueMessage) -> tuple[bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]:
    """What of a record can be compared."""
    return record.message, record.key, tuple(record.headers)


def dead(message: QueueMessage) -> tuple[Any, ...]:
    """What of a dead letter can be compared: all but the time."""
    letter = read(message)
    reason = (
        letter.stage,
        letter.error_type,
        letter.error_text,
        letter.attempts,
        letter.queue,
        letter.position,
        letter.app,
    )
    return (*reason, *plain(letter.record))


def in_any_order(outcome: Outcome) -> Outcome:
    """Where calls wait, which of two messages comes first is a matter of a few microseconds."""
    return Outcome(outcome.calls, sorted(outcome.sent, key=repr), sorted(outcome.dead, key=repr), outcome.left)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Any mixture of messages, valid or not, and of what a function can do."""
    count = draw(st.integers(0, 12))
    bad = st.sampled_from([b"", b"{", b'"text"', b"\xff"])
    bodies = [draw(bad) if draw(st.integers(0, 6)) == 0 else b"%d" % number for number in range(count)]
    steps = {number: draw(st.lists(st.sampled_from(STEPS), max_size=4)) for number in range(count)}
    return Plan(bodies, steps, concurrency=draw(st.sampled_from([1, 3])), is_async=draw(st.booleans()))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(plans())
def test_a_harness_and_a_worker_come_to_the_same(plan: Plan) -> None:
    """Calls, outputs with key and headers, dead letters with their reasons, nothing left."""
    assert in_any_order(in_a_harness(plan)) == in_any_order(on_real_queues(plan))


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("batch", [False, True])
def test_where_nothing_waits_the_order_is_the_same_too(is_async: bool, batch: bool) -> None:
    """Over many batches, of single messages or of lists."""
    plan = Plan([b"%d" % number for number in range(300)], {}, is_async=is_async, batch=batch)

    harness, worker = in_a_harness(plan), on_real_queues(plan)

    assert harness == worker
    assert [body for body, _key, _headers in harness.sent][::2] == [b"%d" % number for number in range(300)]


def test_a_whole_batch_that_fails_fails_alike() -> None:
    """One bad message of a batch takes the others with it, into the retries and out of them."""
    plan = Plan([b"0", b"1", b"2", b"x"], {1: ["raise", "raise"]}, batch=True)

    assert in_any_order(in_a_harness(plan)) == in_any_order(on_real_queues(plan))
