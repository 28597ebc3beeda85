"""Every message that was received is counted in one outcome, once the backend has confirmed it, and logged so."""

from __future__ import annotations

import asyncio
import re
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from core.tests.engine_fixture import EngineFixture, drain, running, until
from core.tests.scripted import ABLE, ScriptedConsumer, ScriptedProducer, Sink, Source

from penstock.connectors import Refusal, Transacted
from penstock.dead_letters import read
from penstock.errors import PenstockError, ProduceError, Retry
from penstock.message import QueueMessage, Record
from penstock.observability.metric_definitions import DEAD_LETTERS, LATE_SETTLEMENTS, OUTCOMES, RECEIVED, SETTLED
from penstock.worker.worker import Worker

DELIVERIES = ("at_least_once", "exactly_once")
both = pytest.mark.parametrize("delivery", DELIVERIES)


class Leasing(ScriptedConsumer):
    """A backend with transactions, at which some deliveries are lost while they are worked on: bodies that begin with
    9, each at its first delivery."""

    capabilities = replace(ABLE, transactions=True)

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        ours, lost = self._fenced(messages)
        await super().on_success(ours)
        return len(lost)

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int | None:
        ours, lost = self._fenced(messages)
        await super().on_fail(ours, delay)
        return len(lost)

    def transaction_problem(self, producer: Any) -> str | None:  # noqa: ARG002
        return None

    async def transact(self, messages: Sequence[QueueMessage], outputs: Sequence[tuple[Any, Sequence[Record]]]) -> Any:
        await self.source.play("transact", [message.message for message in messages])
        lost = [message for message in messages if _is_lost(message)]
        refused = [
            Refusal(output, position, ProduceError("too large", retriable=False))
            for output, (producer, records) in enumerate(outputs)
            for position, record in enumerate(records)
            if producer.sink.refuses(record)
        ]
        if lost or refused:
            self.source.held.difference_update(lost)
            return Transacted(lost, refused)
        for producer, records in outputs:
            producer.sink.stored += records
        self.source.held.difference_update(messages)
        return Transacted()

    def _fenced(self, messages: Sequence[QueueMessage]) -> tuple[list[QueueMessage], list[QueueMessage]]:
        lost = [message for message in messages if _is_lost(message)]
        self.source.held.difference_update(lost)
        return [message for message in messages if message not in lost], lost


def _is_lost(message: QueueMessage) -> bool:
    return (message.message or b"").startswith(b"9") and message.attempts < 10


class Limited(Sink):
    """Takes records of so many bytes at most, headers included."""

    def __init__(self, limit: int = 1_000_000) -> None:
        super().__init__()
        self.limit = limit
        self.tried = 0

    def refuses(self, record: Record) -> bool:
        """Whether it is too large."""
        self.tried += 1
        size = len(record.message or b"") + sum(len(name) + len(value) for name, value in record.headers)
        return size > self.limit

    def queue(self, name: str = "out", **keys: Any) -> Any:
        return super().queue(name, producer=LimitedProducer, **keys)


class LimitedProducer(ScriptedProducer):
    """Stores into a `Limited`."""

    capabilities = replace(ABLE, transactions=True)

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        sink: Any = self.sink
        await sink.play("produce", [record.message for record in records])
        no = [ProduceError("too large", retriable=False) if sink.refuses(record) else None for record in records]
        sink.stored += [record for record, error in zip(records, no, strict=True) if error is None]
        return no


class Bench:
    """An engine between scripted queues."""

    def __init__(self, delivery: str, *bodies: bytes, dead_limit: int = 1_000_000, **settings: Any) -> None:
        self.source, self.out, self.dead = Source(bodies), Limited(20), Limited(dead_limit)
        self._settings = {"delivery": delivery, "dead_letters": True, "app_name": "till", **settings}
        self.worker: Worker | None = None

    def engine(self, function: Callable[..., Any], **keys: Any) -> Any:
        """The engine."""
        targets = [self.out.queue(), self.dead.queue("dead")]
        return EngineFixture().engine(
            function, source=self.source.queue(consumer=Leasing, **keys), targets=targets, **self._settings
        )

    def drain(self, function: Callable[..., Any], **keys: Any) -> dict[str, int]:
        """Run it until its queue is empty."""
        return counts(drain(self.engine(function, **keys)))


def counts(worker: Worker) -> dict[str, int]:
    """The outcomes that are not 0; metrics and summary must add up."""
    [metrics] = worker.metrics.engines()
    found = metrics.counts()
    outcomes = {outcome: found[SETTLED, outcome] for outcome in OUTCOMES}
    assert found[RECEIVED, ""] == sum(outcomes.values()), (found[RECEIVED, ""], outcomes)
    assert found[LATE_SETTLEMENTS, ""] == outcomes["late"]
    [line] = worker.summary()
    received, *told = map(int, re.findall(r"(\d+) [a-z]", line.partition(": ")[2].partition(";")[0]))
    assert received == found[RECEIVED, ""] == sum(told), line
    return {outcome: count for outcome, count in outcomes.items() if count}


def stored(worker: Worker) -> int:
    """How many dead letters were counted as stored."""
    [metrics] = worker.metrics.engines()
    return sum(count for (metric, _stage), count in metrics.counts().items() if metric is DEAD_LETTERS)


def by_number(number: int, msg_ctx: QueueMessage) -> Any:
    """The last digit says what happens; see `test_every_kind_of_outcome_is_counted_once`."""
    again, kind = msg_ctx.attempts > 1, number % 10
    if kind == 1:
        raise LookupError("never")
    if kind == 2 and not again:
        raise LookupError("not yet")
    if kind == 3 and not again:
        raise Retry(0)
    if kind == 4 and not again:
        return False
    if kind == 5:
        return "out", "x" * 100  # which the queue refuses
    return None if kind == 6 else ("out", number)


@both
@pytest.mark.parametrize("form", ["sync", "async"])
def test_every_kind_of_outcome_is_counted_once(delivery: str, form: str) -> None:
    """Succeeded, with and without an output; tried again; requeued by Retry and by False; refused; not valid; never
    done: and each of them lost to another consumer on the way."""

    async def asynchronous(number: int, msg_ctx: QueueMessage) -> Any:
        return by_number(number, msg_ctx)

    ours = [b"%d" % number for number in range(10, 17)]
    bench = Bench(delivery, *ours, b"no json", *(b"9%d" % number for number in range(7)), b"9 no json")

    found = bench.drain(by_number if form == "sync" else asynchronous)

    # What was requeued is received a second time.
    assert found == {"succeeded": 5, "dead_lettered": 3, "requeued": 2, "late": 8}
    if delivery == "exactly_once":
        assert len(bench.dead.stored) == 3
        assert sorted(bench.out.bodies) == [b"10", b"12", b"13", b"14"]


@both
def test_lost_messages_are_late_and_never_dead_lettered(delivery: str) -> None:
    """All in one batch that fails: exactly once stores letters of ours alone, and counts no other."""
    bench = Bench(delivery, *(b"11" if number % 2 else b"91" for number in range(20)), retry={"max_attempts": 1})

    worker = drain(bench.engine(by_number))

    assert counts(worker) == {"dead_lettered": 10, "late": 10}
    assert stored(worker) == len(bench.dead.stored)
    assert len(bench.dead.stored) == (20 if delivery == "at_least_once" else 10)


@both
def test_a_whole_batch_with_lost_messages_is_counted_once(delivery: str) -> None:
    """Exactly once requeues the others, for the outputs were made of all of them together."""
    bench = Bench(delivery, b"10", b"90", b"20")

    found = bench.drain(lambda numbers: ("out", sum(numbers)), batch=True)

    assert found == {"succeeded": 2, "late": 1} | ({"requeued": 2} if delivery == "exactly_once" else {})


@both
def test_skipped_messages_are_counted_once(delivery: str) -> None:
    """`on_invalid: skip`, one of them lost."""
    bench = Bench(delivery, b"no json", b"9 no json", b"10", dead_letters=False, on_invalid="skip")

    assert bench.drain(by_number) == {"skipped": 1, "late": 1, "succeeded": 1}


@both
@pytest.mark.parametrize("call", ["on_fail", "on_success"])
def test_nothing_is_counted_before_the_backend_has_confirmed_it(delivery: str, call: str) -> None:
    """While on_fail or on_success is under way, no outcome; when it never answers, the message counts as unsettled."""
    bench = Bench(delivery, b"no json" if call == "on_success" else b"13", dead_letters=False, on_invalid="skip")
    bench.source.steps[call] = deque([lambda: asyncio.sleep(60)])

    async def main() -> Worker:
        async with running(bench.engine(by_number), shutdown_timeout=0.1) as run:
            await until(lambda: bench.source.count(call))
            assert counts_while_working(run.worker) == {}
            await run.stop()
            return run.worker

    assert counts(asyncio.run(main())) == {"unsettled": 1}


def counts_while_working(worker: Worker) -> dict[str, int]:
    """The outcomes so far that are not 0."""
    [metrics] = worker.metrics.engines()
    return {label: count for (metric, label), count in metrics.counts().items() if metric is SETTLED and count}


@both
@pytest.mark.parametrize("form", ["sync", "async"])
def test_a_stop_in_the_middle_adds_up(delivery: str, form: str) -> None:
    """What was called, what waited, and what waited for another try: all that is not settled counts as unsettled."""
    release = threading.Event()

    def sync(number: int) -> Any:
        if number == 11:
            raise LookupError("tried again in a minute")
        if number == 12:
            release.wait(10)
        return "out", number

    async def asynchronous(number: int) -> Any:
        if number == 12:
            await asyncio.sleep(60)
        return sync(11 if number == 11 else 0) or number

    bench = Bench(
        delivery, b"10", b"11", b"no json", *[b"12"] * 20, retry={"initial_delay": 60, "max_delay": 60, "jitter": 0.0}
    )

    async def main() -> Worker:
        engine = bench.engine(sync if form == "sync" else asynchronous)
        async with running(engine, shutdown_timeout=0.2) as run:
            await until(lambda: bench.dead.stored and bench.out.stored)
            await run.stop()
            return run.worker

    found = counts(asyncio.run(main()))
    release.set()

    assert found["dead_lettered"] == found["succeeded"] == 1
    assert found["unsettled"] >= 2


def test_an_engine_that_stops_with_an_error_adds_up() -> None:
    """The message that stopped it is left, with all that came behind it."""
    bench = Bench("at_least_once", b"10", b"no json", *[b"10"] * 50, dead_letters=False)
    worker: list[Worker] = []

    async def main() -> None:
        async with running(bench.engine(by_number)) as run:
            worker.append(run.worker)
            await run.ended()

    with pytest.raises(PenstockError, match="It stays in its queue"):
        asyncio.run(main())

    found = counts(worker[0])
    assert found["unsettled"] >= 1
    assert sum(found.values()) == found["unsettled"] + found.get("succeeded", 0)


# -- a dead letter that is too large


@both
@pytest.mark.parametrize(("body", "said"), [(150, "a short error text"), (1_900, "no reasons, as it came")])
def test_a_dead_letter_that_is_too_large_is_stored_with_less(
    delivery: str, body: int, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its reasons are cut first, then left out: the message is kept whatever happens, and the log says how."""

    def function(_text: str) -> None:
        raise LookupError("long " * 400)

    message = b'"' + b"x" * body + b'"'
    bench = Bench(delivery, message, dead_limit=1_000 if body < 1_000 else 2_000, retry={"max_attempts": 1})

    worker = drain(bench.engine(function))

    [letter] = bench.dead.stored
    assert letter.message == message
    assert counts(worker) == {"dead_lettered": 1}
    assert stored(worker) == 1
    assert f"1 dead letters are stored with {said}, the first of queue 'in'" in caplog.text
    reasons = read(QueueMessage(None, letter.message, letter.key, letter.headers))
    assert reasons.error_type == ("LookupError" if body < 1_000 else "")
    assert len(reasons.error_text) <= 100


@both
def test_a_dead_letter_that_fits_nowhere_is_requeued_and_neighbours_are_not(
    delivery: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Not lost, not claimed, not in a hot loop; the log names the size and what the queue says."""
    bench = Bench(
        delivery, b"11", b'"' + b"x" * 5_000 + b'"', b"no json", dead_limit=2_000,
        retry={"max_attempts": 1, "max_delay": 0.3, "jitter": 0.0},
    )  # fmt: skip

    def function(_value: Any) -> None:
        raise LookupError("never")

    async def main() -> Worker:
        async with running(bench.engine(function)) as run:
            await until(lambda: bench.source.count("on_fail") and len(bench.dead.stored) == 2)
            assert not [line for line in caplog.messages if "2 messages failed" in line]
            await run.stop()
            return run.worker

    found = counts(asyncio.run(main()))

    assert found["dead_lettered"] == 2
    assert found["requeued"] + found.get("unsettled", 0) >= 1
    assert bench.source.count("on_fail") <= 3
    assert sorted(bench.dead.bodies) == [b"11", b"no json"]
    assert "1 messages can be neither processed nor dead-lettered and stay in their queue" in caplog.text
    assert "with a body of 5002 bytes: " in caplog.text
    assert "too large; raise the limit of the dead-letter queue" in caplog.text


# -- the log


@both
def test_the_log_tells_of_a_dead_letter_once_it_is_stored(delivery: str, caplog: pytest.LogCaptureFixture) -> None:
    """Not while the dead-letter queue is away; if the engine ends first, it says that the message is left."""
    bench = Bench(delivery, b"no json")
    away = [lambda: asyncio.sleep(60)]
    bench.dead.steps["produce"] = deque(away)
    bench.source.steps["transact"] = deque(away)

    async def main() -> Worker:
        async with running(bench.engine(by_number), shutdown_timeout=0.1) as run:
            await until(lambda: bench.dead.count("produce") + bench.source.count("transact"))
            assert "dead-letter queue" not in caplog.text
            await run.stop()
            return run.worker

    assert counts(asyncio.run(main())) == {"unsettled": 1}
    assert "; to the dead-letter queue" not in caplog.text
    assert "; left in its queue, because the engine ends first" in caplog.text
