"""A blocking connector and its threads."""

# ruff: noqa: ARG002  (methods of a contract)

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from core.tests.adapted import (
    WAIT,
    Calls,
    OwnConsumer,
    OwnProducer,
    SlowConsumer,
    SlowProducer,
    run,
)

from penstock.connectors import BlockingProducer, Transacted
from penstock.errors import ConnectorError, NotConnected
from penstock.message import BrowsedMessage, QueueMessage, Record
from penstock.queues.adapters import ThreadedConsumer, make_consumer, make_producer

pytestmark = pytest.mark.usefixtures("no_thread_is_left_behind")


def test_a_settlement_does_not_wait_for_a_consume_that_waits_for_messages() -> None:
    """Nor the event loop for either: they meet here, each needing the other to be under way."""
    calls = Calls()

    async def main() -> None:
        consumer = make_consumer(SlowConsumer, "q", {"calls": calls})
        await consumer.connect()
        consuming = asyncio.ensure_future(consumer.consume(5, 0.5))
        settled = await consumer.on_success([QueueMessage(1, b""), QueueMessage(2, b"")])
        messages = await consuming
        assert (settled, messages[0].message_context, messages[0].message) == (2, 5, b"0.5")
        await consumer.shutdown()

    run(main())


def test_connecting_consuming_and_closing_are_on_one_thread_and_settling_is_on_another() -> None:
    """Clients that must be closed by the thread that opened them can rely on it."""
    calls = Calls()

    async def main() -> None:
        consumer = make_consumer(SlowConsumer, "q", {"calls": calls})
        assert calls.made == []
        await consumer.connect()
        await asyncio.gather(consumer.consume(1, 0), consumer.on_success([]))
        await consumer.on_fail([], 2.0)
        await consumer.on_fail([])
        await consumer.extend([])
        assert await consumer.lag() == 7
        await consumer.connect()
        await consumer.shutdown()

    run(main())

    first, second = calls.threads("connect", "consume", "shutdown"), calls.threads("on_success", "extend", "lag")
    assert (len(first), len(second), len(first | second | {threading.get_ident()})) == (1, 1, 3)
    assert calls.threads("on_fail 2.0", "on_fail None") == second
    assert calls.names[-1] == "shutdown"


class NotingConsumer(SlowConsumer):
    """Whose settlements wait for nothing."""

    settles_at_once = True

    def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        self.calls.note("on_success")
        return len(messages)


def test_settlements_that_wait_for_nothing_are_made_on_the_event_loop() -> None:
    """Both kinds, with their arguments and their answer; other calls stay on their threads."""
    calls = Calls()

    async def main() -> None:
        consumer = make_consumer(NotingConsumer, "q", {"calls": calls})
        await consumer.connect()
        assert await consumer.on_success([QueueMessage(1, b"")]) == 1
        await consumer.on_fail([], 2.0)
        await consumer.extend([])
        await consumer.shutdown()

    run(main())

    assert calls.threads("on_success", "on_fail 2.0") == {threading.get_ident()}
    assert threading.get_ident() not in calls.threads("connect", "extend", "shutdown")


class BrowsedConsumer(SlowConsumer):
    """Its settlements and its consume wait until a browse has ended."""

    def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        self.calls.note("on_success")
        assert self.settled.wait(WAIT)
        return None

    def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        self.calls.note("browse")
        assert self.consuming.wait(WAIT)
        self.settled.set()
        return [BrowsedMessage(b"x", f"{after}/{limit}")]


def test_browsing_waits_neither_for_consuming_nor_for_settling() -> None:
    """Nor does it keep them waiting: both of them end only when it has run."""
    calls = Calls()

    async def main() -> None:
        consumer = make_consumer(BrowsedConsumer, "q", {"calls": calls})
        consuming, settling = (
            asyncio.ensure_future(call) for call in (consumer.consume(1, 0), consumer.on_success([]))
        )
        (message,) = await consumer.browse(2, "1")
        assert (message.position, message.attempts, message.state) == ("1/2", 0, "unknown")
        await asyncio.gather(consuming, settling)
        await consumer.shutdown()

    run(main())

    assert not calls.threads("browse") & calls.threads("consume", "on_success", "shutdown")


def test_a_consumer_that_cannot_browse_says_so() -> None:
    """In both forms, by the name of its class."""

    async def main() -> None:
        for kind in (OwnConsumer, SlowConsumer):
            consumer = make_consumer(kind, "q", {"calls": Calls()})
            with pytest.raises(NotImplementedError, match=f"{kind.__name__} declares 'browse'"):
                await consumer.browse(1)
            await consumer.shutdown()

    run(main())


class BusyConsumer(SlowConsumer):
    """Whose settlements take as long as a test says."""

    def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        self.consuming.set()
        assert self.settled.wait(WAIT)
        self.calls.note("on_success")
        return None


def test_an_extension_waits_for_the_settlement_that_runs_and_for_no_other() -> None:
    """However many wait: together they may take longer than the lease."""
    calls = Calls()

    async def main() -> None:
        consumer = make_consumer(BusyConsumer, "q", {"calls": calls})
        await consumer.connect()
        busy: Any = consumer
        settling = [asyncio.create_task(consumer.on_success([])) for _ in range(20)]
        await asyncio.to_thread(busy._blocking.consuming.wait, WAIT)
        extending = asyncio.create_task(consumer.extend([]))
        await asyncio.sleep(0)
        busy._blocking.settled.set()
        await asyncio.gather(*settling, extending)
        await consumer.shutdown()

    run(main())

    assert calls.names[1:4] == ["on_success", "extend", "on_success"]
    assert calls.names.count("on_success") == 20


class JoiningConsumer(SlowConsumer):
    """Its first settlement waits for a test; it returns or raises what the test says of the last message."""

    join_successes = True

    def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        self.consuming.set()
        assert self.settled.wait(WAIT)
        self.calls.note(f"on_success {[message.message_context for message in messages]}")
        found: int | Exception | None = self.options.get(messages[-1].message_context)
        if isinstance(found, Exception):
            raise found
        return found


def test_successes_that_wait_are_made_as_one_where_the_consumer_wants_it() -> None:
    """None passes a call of another kind; each learns how many of its own may be late, or the error."""
    calls = Calls()

    async def main() -> list[Any]:
        consumer = make_consumer(JoiningConsumer, "q", {"calls": calls, 4: 3, 6: ValueError("a bug")})
        busy: Any = consumer

        def succeed(*numbers: int) -> asyncio.Task[int | None]:
            return asyncio.create_task(consumer.on_success([QueueMessage(number, b"") for number in numbers]))

        alone = succeed(1)
        await asyncio.to_thread(busy._blocking.consuming.wait, WAIT)
        joined = [succeed(2, 3), succeed(4)]
        await asyncio.sleep(0)
        failing = asyncio.create_task(consumer.on_fail([]))
        await asyncio.sleep(0)
        raising = [succeed(5), succeed(6)]
        await asyncio.sleep(0)
        busy._blocking.settled.set()
        found = await asyncio.gather(alone, *joined, failing, *raising, return_exceptions=True)
        await consumer.shutdown()
        return found

    found = run(main())

    assert calls.names == ["on_success [1]", "on_success [2, 3, 4]", "on_fail None", "on_success [5, 6]", "shutdown"]
    assert found[:4] == [None, 2, 1, None]
    assert [str(error) for error in found[4:]] == ["a bug", "a bug"]


def test_what_a_blocking_consumer_says_of_itself_is_passed_on() -> None:
    """Its lease, known after connecting, and whether it must be polled."""

    async def main() -> None:
        consumer = make_consumer(SlowConsumer, "q", {"calls": Calls()})
        assert (consumer.lease, consumer.keep_polling, consumer.name) == (None, True, "q")
        await consumer.connect()
        assert consumer.lease == 30.0
        await consumer.shutdown()

    run(main())


class FailingConsumer(SlowConsumer):
    """Raises what it was told to."""

    def connect(self) -> None:
        raise self.options["error"]

    def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        raise self.options["error"]

    def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        raise self.options["error"]

    def shutdown(self) -> None:
        raise self.options["error"]


@pytest.mark.parametrize("error", [NotConnected("away", retry_after=2), ValueError("a bug")])
def test_what_a_blocking_connector_raises_arrives_as_it_is(error: Exception) -> None:
    """The queue decides by the kind of error; a shutdown that fails still ends the threads."""

    async def main() -> None:
        consumer = make_consumer(FailingConsumer, "q", {"calls": Calls(), "error": error})
        calls: list[Callable[[], Coroutine[Any, Any, Any]]] = [
            consumer.connect,
            lambda: consumer.consume(1, 0),
            lambda: consumer.on_success([]),
            consumer.shutdown,
        ]
        for call in calls:
            with pytest.raises(type(error)) as caught:
                await call()
            assert caught.value is error

    run(main())


class LaggingConsumer(SlowConsumer):
    """Its lag takes until the test lets it go on."""

    def lag(self) -> int | None:
        self.calls.note("lag begins")
        assert self.options["go_on"].wait(WAIT)
        self.calls.note("lag ends")
        return 0


def test_a_call_without_a_caller_ends_before_the_connector_is_closed() -> None:
    """The call that asked for the lag was cancelled; the client must not be closed under the call's feet."""
    calls, go_on = Calls(), threading.Event()

    async def main() -> None:
        consumer = make_consumer(LaggingConsumer, "q", {"calls": calls, "go_on": go_on})
        await consumer.connect()
        asking = asyncio.create_task(consumer.lag())
        while "lag begins" not in calls.names:
            await asyncio.sleep(0.001)
        asking.cancel()
        closing = asyncio.create_task(consumer.shutdown())
        await asyncio.sleep(0)
        assert "shutdown" not in calls.names
        go_on.set()
        await closing

    run(main())

    assert calls.names == ["connect", "lag begins", "lag ends", "shutdown"]


def test_a_settlement_that_hangs_does_not_hold_up_the_shutdown_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It gets a few seconds; then the connector is closed beside it, and the log says so."""
    calls, go_on = Calls(), threading.Event()
    monkeypatch.setattr(ThreadedConsumer, "SETTLE_WAIT", 0.05)

    async def main() -> None:
        consumer = make_consumer(LaggingConsumer, "orders", {"calls": calls, "go_on": go_on})
        await consumer.connect()
        asking = asyncio.create_task(consumer.lag())
        await asyncio.sleep(0)
        asking.cancel()
        await consumer.shutdown()

    with caplog.at_level(logging.WARNING, "penstock"):
        run(main())
    go_on.set()

    assert calls.names[-1] == "shutdown"
    assert caplog.messages == ["queue 'orders': a settlement has not ended in 0.05 s; closing beside it"]


class TransactingConsumer(SlowConsumer):
    """Its transactions take producers of its own kind, by their names."""

    def transaction_problem(self, producer: BlockingProducer) -> str | None:
        return None if isinstance(producer, SlowProducer) else "it is not a slow one"

    def transact(
        self, messages: Sequence[QueueMessage], outputs: Sequence[tuple[BlockingProducer, Sequence[Record]]]
    ) -> Transacted:
        self.calls.note(f"transact {len(messages)} {[(type(p).__name__, p.name, len(r)) for p, r in outputs]}")
        return Transacted(lost=messages[:1])


def test_a_blocking_consumer_transacts_where_it_settles_with_the_producers_themselves() -> None:
    """It gets the producers' own objects, not what the core wraps them in."""
    calls = Calls()

    async def main() -> None:
        consumer = make_consumer(TransactingConsumer, "q", {"calls": calls})
        producer = make_producer(SlowProducer, "out", calls)
        await consumer.connect()
        messages = [QueueMessage(1, b""), QueueMessage(2, b"")]
        assert consumer.transaction_problem(producer) is None
        done = await consumer.transact(messages, [(producer, [Record(b"a")]), (producer, [])])
        assert list(done.lost) == messages[:1]
        await consumer.extend([])
        await consumer.shutdown()

    run(main())

    told = "transact 2 [('SlowProducer', 'out', 1), ('SlowProducer', 'out', 0)]"
    assert calls.threads(told) == calls.threads("extend")
    assert len(calls.threads(told)) == 1


def test_a_blocking_consumer_says_which_producers_it_cannot_transact_with() -> None:
    """An asynchronous one is never its own; a consumer that implements nothing has no transactions."""
    transacting, plain = (make_consumer(each, "q", {"calls": Calls()}) for each in (TransactingConsumer, SlowConsumer))

    assert transacting.transaction_problem(make_producer(OwnProducer, "q", None)) == "it has another connector"
    assert plain.transaction_problem(make_producer(SlowProducer, "q", Calls())) == "SlowConsumer has no transactions"


def test_a_blocking_producer_has_one_thread_and_one_call_at_a_time() -> None:
    """Calls of the engine may come several at once; they are made in their order."""
    calls = Calls()

    async def main() -> None:
        producer = make_producer(SlowProducer, "q", calls)
        assert calls.made == []
        await producer.connect()
        answers = await asyncio.gather(*(producer.produce([Record(b"good"), Record(b"bad")]) for _ in range(5)))
        assert [[error is None for error in answer] for answer in answers] == [[True, False]] * 5
        await producer.shutdown()
        with pytest.raises(ConnectorError, match=r"^the producer is shut down$"):
            await producer.produce([Record(b"good")])

    run(main())

    assert calls.names == ["connect", *["produce"] * 5, "shutdown"]
    assert len(calls.threads(*calls.names)) == 1
    assert calls.threads("produce") != {threading.get_ident()}
