"""Every accepted form of connector, as the asynchronous, batch-wise contract."""

# ruff: noqa: ARG002  (a connector is given what the contract says, whether it needs it or not)

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, ClassVar

import pytest

from penstock.connectors import BlockingConsumer, BlockingProducer, Consumer, Producer, Transacted
from penstock.errors import ConfigError, ConnectorError, NotConnected, ProduceError
from penstock.message import BrowsedMessage, QueueMessage, Record
from penstock.queues.adapters import ThreadedConsumer, make_consumer, make_producer

WAIT = 10.0  # seconds after which something that should happen has not


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """On an event loop of its own, and not for ever."""

    async def bounded() -> Any:
        async with asyncio.timeout(WAIT):
            return await coroutine

    return asyncio.run(bounded())


@pytest.fixture(autouse=True)
def _no_thread_is_left_behind() -> Iterator[None]:
    """A connector that is shut down, or was never connected, has no threads."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("penstock-") and thread.name.endswith(("-q", "-orders")):
            thread.join(WAIT)
            assert not thread.is_alive(), thread.name


class Calls:
    """Which method was called on which thread, in order."""

    def __init__(self) -> None:
        self.made: list[tuple[str, int]] = []

    def note(self, name: str) -> None:
        self.made.append((name, threading.get_ident()))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.made]

    def threads(self, *names: str) -> set[int]:
        return {thread for name, thread in self.made if name in names}


# -- asynchronous connectors


class OwnConsumer(Consumer):
    """Nothing to adapt."""

    async def connect(self) -> None: ...
    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        return []

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None: ...
    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None: ...
    async def shutdown(self) -> None: ...


class OwnProducer(Producer):
    """Nothing to adapt."""

    async def connect(self) -> None: ...
    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        return [None for _ in records]

    async def shutdown(self) -> None: ...


def test_an_asynchronous_connector_is_used_as_it_is() -> None:
    """No wrapper between the engine and it."""
    consumer, producer = make_consumer(OwnConsumer, "q", {"a": 1}), make_producer(OwnProducer, "q", {"a": 1})

    assert (type(consumer), consumer.name, consumer.options) == (OwnConsumer, "q", {"a": 1})
    assert (type(producer), producer.name, producer.options) == (OwnProducer, "q", {"a": 1})


# -- blocking connectors


class SlowConsumer(BlockingConsumer):
    """Its consume waits until a settlement lets it go, as a settlement may be what brings the next message."""

    keep_polling: ClassVar[bool] = True

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self.calls: Calls = options["calls"]
        self.consuming = threading.Event()
        self.settled = threading.Event()

    def connect(self) -> None:
        self.calls.note("connect")
        self.lease = 30.0

    def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        self.calls.note("consume")
        self.consuming.set()
        assert self.settled.wait(WAIT)
        return [QueueMessage(max_messages, f"{timeout}".encode())]

    def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        self.calls.note("on_success")
        assert self.consuming.wait(WAIT)
        self.settled.set()
        return len(messages)

    def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:
        self.calls.note(f"on_fail {delay}")

    def extend(self, messages: Sequence[QueueMessage]) -> None:
        self.calls.note("extend")

    def lag(self) -> int | None:
        self.calls.note("lag")
        return 7

    def shutdown(self) -> None:
        self.calls.note("shutdown")


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


class SlowProducer(BlockingProducer):
    """Notes its calls, and answers each record by its body."""

    def connect(self) -> None:
        self.options.note("connect")

    def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        self.options.note("produce")
        return [None if record.message == b"good" else ProduceError("bad") for record in records]

    def shutdown(self) -> None:
        self.options.note("shutdown")


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


# -- what is not a connector


class NoConnector:
    """Has nothing of either."""


class HalfConsumer:
    """Cannot requeue."""

    def consume(self) -> None: ...
    def delete(self, message_context: Any) -> None: ...
    def shutdown(self) -> None: ...


class AsyncOneAtATime:
    """Written for no contract: one message at a time, and async."""

    async def consume(self) -> None: ...
    def on_success(self, message_context: Any) -> None: ...
    def on_fail(self, message_context: Any) -> None: ...
    def shutdown(self) -> None: ...
    async def produce(self, queue_name: str, message: bytes, message_context: Any) -> bool:
        return True


class Unfinished(BlockingConsumer):
    """Derived, as its author has heard, and then written one message at a time."""

    def consume(self) -> None: ...  # type: ignore[override]
    def on_success(self, message_context: Any) -> None: ...
    def on_fail(self, message_context: Any) -> None: ...  # type: ignore[override]
    def shutdown(self) -> None: ...


class UnfinishedProducer(Producer):
    """Lacks two."""

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        return [None for _ in records]


class AsyncBlocking(SlowConsumer):
    """Derived from the form that it is not."""

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None: ...  # type: ignore[override]


class AsyncBlockingProducer(SlowProducer):
    """Derived from the form that it is not."""

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:  # type: ignore[override]
        return [None for _ in records]


class WithoutHost:
    """Its constructor takes what the adapter does not give, or too little."""

    def __init__(self, queue_name: str, config: dict[str, Any]) -> None: ...
    def consume(self) -> None: ...
    def on_success(self, message_context: Any) -> None: ...
    def on_fail(self, message_context: Any) -> None: ...
    def shutdown(self) -> None: ...


class WithAddress:
    """Its constructor wants more than the adapter gives."""

    def __init__(self, queue_name: str, address: str, **settings: Any) -> None: ...
    def produce(self, queue_name: str, message: bytes, message_context: Any) -> bool:
        return True

    def shutdown(self) -> None: ...


HERE = __name__
DERIVE = "derive it from penstock.{0} or penstock.Blocking{0}"


@pytest.mark.parametrize(
    ("connector_class", "problem"),
    [
        (
            NoConnector,
            f"NoConnector is not a consumer: {DERIVE.format('Consumer')}, or give it consume, on_success, on_fail, "
            f"shutdown; it lacks consume",
        ),
        (
            HalfConsumer,
            f"HalfConsumer is not a consumer: {DERIVE.format('Consumer')}, or give it consume, delete, on_fail, "
            f"shutdown; it lacks on_fail",
        ),
        (
            OwnProducer,
            f"OwnProducer is not a consumer: {DERIVE.format('Consumer')}, or give it consume, on_success, on_fail, "
            f"shutdown; it lacks consume",
        ),
        (
            AsyncOneAtATime,
            f"AsyncOneAtATime is not a consumer: its consume is async, which needs a batch-wise class; "
            f"{DERIVE.format('Consumer')}",
        ),
        (
            Unfinished,
            "Unfinished is not a complete consumer: it lacks connect; add what is missing, or, if it moves one message "
            "at a time, derive it from no class of Penstock",
        ),
        (
            AsyncBlocking,
            "AsyncBlocking: its on_fail is async, which penstock.BlockingConsumer has not; derive it from "
            "penstock.Consumer, and write all its methods so",
        ),
        (
            WithoutHost,
            "WithoutHost is not a consumer: it is made as WithoutHost(queue_name=…, host=…, config=…), and its "
            "constructor says: got an unexpected keyword argument 'host'",
        ),
    ],
)
def test_a_class_that_is_no_consumer_is_refused_before_it_is_made(connector_class: type, problem: str) -> None:
    """The error names the class, what it lacks, and what to derive it from."""
    with pytest.raises(ConfigError) as caught:
        make_consumer(connector_class, "q", {})

    assert str(caught.value) == f"{HERE}.{problem}"


@pytest.mark.parametrize(
    ("connector_class", "problem"),
    [
        (
            NoConnector,
            f"NoConnector is not a producer: {DERIVE.format('Producer')}, or give it produce, shutdown; it lacks "
            "produce",
        ),
        (
            AsyncOneAtATime,
            f"AsyncOneAtATime is not a producer: its produce is async, which needs a batch-wise class; "
            f"{DERIVE.format('Producer')}",
        ),
        (
            UnfinishedProducer,
            "UnfinishedProducer is not a complete producer: it lacks connect, shutdown; add what is missing, or, if it "
            "moves one message at a time, derive it from no class of Penstock",
        ),
        (
            AsyncBlockingProducer,
            "AsyncBlockingProducer: its produce is async, which penstock.BlockingProducer has not; derive it from "
            "penstock.Producer, and write all its methods so",
        ),
        (
            WithAddress,
            "WithAddress is not a producer: it is made as WithAddress(queue_name=…, host=…, config=…), and its "
            "constructor says: missing a required argument: 'address'",
        ),
    ],
)
def test_a_class_that_is_no_producer_is_refused_before_it_is_made(connector_class: type, problem: str) -> None:
    """The error names the class, what it lacks, and what to derive it from."""
    with pytest.raises(ConfigError) as caught:
        make_producer(connector_class, "q", {})

    assert str(caught.value) == f"{HERE}.{problem}"
