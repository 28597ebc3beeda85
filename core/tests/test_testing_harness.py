"""The harness: what a test sees of an engine, and what it does not have to wait for."""

from __future__ import annotations

import asyncio
import contextvars
import random
import signal
import socket
import threading
import time
import unittest
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from penstock import Engine, Output, QueueMessage, Retry
from penstock.errors import ConfigError, FunctionError, InvalidMessage, MessageError, PenstockError
from penstock.testing import Harness, NotIdle


class Order(BaseModel):
    id: int
    cents: int = 100


class Invoice(BaseModel):
    order: int
    cents: int


Function = Callable[..., Any]

BACKOFF = {"max_attempts": 3, "initial_delay": 30.0, "factor": 2.0, "max_delay": 300.0, "jitter": 0.0}
QUEUES: dict[str, Any] = {"orders": {}, "invoices": {}, "rejects": {"profile": "memory-dlq"}}


def engine(function: Function, queues: dict[str, Any] | None = None, **settings: Any) -> Engine:
    """An engine from `orders` to `invoices`; what fails goes to `rejects`."""
    given = {"input_queue": "orders", "output_queues": ["invoices"], "dead_letter_queue": "rejects", "retry": BACKOFF}
    app = Engine(app_name="billing", queue_config=queues or QUEUES, **{**given, **settings})
    app.stream_app(function)
    return app


def bill(order: Order) -> list[tuple[str, Invoice]]:
    """The function of most tests."""
    return [("invoices", Invoice(order=order.id, cents=order.cents))]


def failing(times: int, error: Callable[[], BaseException] = lambda: ValueError("not yet")) -> Function:
    """A function that raises so many times for each order before it succeeds."""
    tries: Counter[int] = Counter()

    def function(order: Order) -> Any:
        tries[order.id] += 1
        if tries[order.id] <= times:
            raise error()
        return bill(order)

    return function


# -- what went in and what came out


def test_what_is_sent_goes_through_the_function_and_comes_out_decoded() -> None:
    """Models in, models out, in order."""
    with Harness(engine(bill)) as harness:
        for number in range(50):
            harness.send("orders", Order(id=number, cents=number * 10))
        harness.run()

        assert harness.sent("invoices", Invoice) == [Invoice(order=n, cents=n * 10) for n in range(50)]
        assert (harness.succeeded, harness.attempts, harness.left) == (50, [1] * 50, 0)


def test_a_decorated_function_is_as_good_as_its_engine() -> None:
    """And it can still be called as the function that it is."""
    app = Engine("orders", ["invoices"], queue_config=QUEUES)
    decorated = app.stream_app(bill)

    with Harness(decorated) as harness:
        harness.send("orders", Order(id=1))
        harness.run()

        assert harness.sent("invoices", Invoice) == [Invoice(order=1, cents=100)]
        assert decorated(Order(id=1)) == [("invoices", Invoice(order=1, cents=100))]


@pytest.mark.parametrize("kind", ["sync", "async", "generator", "async generator"])
def test_every_kind_of_function_runs(kind: str) -> None:
    """On a thread or on the loop, with the same result."""

    async def coroutine(order: Order) -> Any:
        await asyncio.sleep(60)
        return bill(order)

    def generator(order: Order) -> Iterator[Any]:
        yield from bill(order)

    async def async_generator(order: Order) -> AsyncIterator[Any]:
        for item in bill(order):
            yield item

    functions = {"sync": bill, "async": coroutine, "generator": generator, "async generator": async_generator}
    with Harness(engine(functions[kind])) as harness:
        harness.send("orders", Order(id=1))
        harness.send("orders", Order(id=2))
        harness.run()

        assert [invoice.order for invoice in harness.sent("invoices", Invoice)] == [1, 2]


def test_key_and_headers_go_in_and_come_out() -> None:
    """The function sees them on the message; records show those of an output, and an inherited key."""

    def function(order: Order, msg_ctx: QueueMessage) -> Any:
        headers = {"seen": b",".join(value for _name, value in msg_ctx.headers)}
        return [
            ("invoices", bill(order)[0][1]),
            Output("invoices", Invoice(order=0, cents=0), key="k2", headers=headers),
        ]

    with Harness(engine(function)) as harness:
        harness.send("orders", Order(id=1), key="k1", headers=[("a", "text"), ("b", b"\xff")])
        harness.run()

        first, second = harness.records("invoices")
        assert (first.key, first.headers) == (b"k1", ())
        assert (second.key, second.headers) == (b"k2", [("seen", b"text,\xff")])
        assert first.message == b'{"order":1,"cents":100}'


def test_plain_data_and_bytes_are_sent_as_a_stranger_would() -> None:
    """Whether or not they fit the data model: what does not, becomes a dead letter that says so."""
    queues = {**QUEUES, "orders": {"data_model": Order}}
    with Harness(engine(bill, queues)) as harness:
        harness.send("orders", {"id": 1})
        harness.send("orders", {"id": "one"})
        harness.send("orders", b"{")
        harness.send("orders", None)
        harness.run()

        assert harness.sent("invoices", Invoice) == [Invoice(order=1, cents=100)]
        assert [letter.stage for letter in harness.dead_letters()] == ["validate", "decode", "decode"]
        assert [letter.record.message for letter in harness.dead_letters()] == [b'{"id":"one"}', b"{", None]


def test_plain_data_may_hold_models() -> None:
    """Then the model handler takes them apart, as it does a model."""
    queues = {**QUEUES, "orders": {"data_model": list[Order]}}

    def function(orders: list[Order]) -> Any:
        return [item for order in orders for item in bill(order)]

    with Harness(engine(function, queues)) as harness:
        harness.send("orders", [Order(id=1), Order(id=2)])
        harness.run()

        assert [invoice.order for invoice in harness.sent("invoices", Invoice)] == [1, 2]


def test_what_cannot_be_encoded_is_refused_where_it_is_sent() -> None:
    """With the name of the queue and of the type."""
    with Harness(engine(bill)) as harness, pytest.raises(ValueError, match="a object cannot be sent to queue 'orders'"):
        harness.send("orders", object())


def test_a_queue_with_a_data_model_decodes_by_it() -> None:
    """Without one, what was sent is plain data, unless the test names a model."""
    queues = {**QUEUES, "invoices": {"data_model": Invoice}}
    for config, expected in ((queues, Invoice(order=1, cents=100)), (QUEUES, {"order": 1, "cents": 100})):
        with Harness(engine(bill, config)) as harness:
            harness.send("orders", Order(id=1))
            harness.run()

            assert harness.sent("invoices") == [expected]


def test_a_record_that_does_not_fit_says_which_and_why() -> None:
    """And never shows what is in it."""
    with Harness(engine(bill)) as harness:
        harness.send("orders", Order(id=77, cents=77))
        harness.run()

        with pytest.raises(InvalidMessage, match=r"record 1 of 'invoices': .*id: Field required") as caught:
            harness.sent("invoices", Order)
        assert "77" not in str(caught.value)


def test_a_name_that_no_engine_has_is_refused_with_the_nearest() -> None:
    """For whatever it is asked: a misspelt name must not look like an empty queue."""
    with Harness(engine(bill)) as harness:
        calls: list[Callable[[str], Any]] = [
            lambda name: harness.send(name, b""),
            harness.sent,
            harness.records,
            harness.dead_letters,
            harness.producer,
        ]
        for call in calls:
            with pytest.raises(ConfigError, match=r"'invoises' is not .*; did you mean 'invoices'"):
                call("invoises")
        with pytest.raises(ConfigError, match="'orders' is not an output queue"):
            harness.sent("orders")
        with pytest.raises(ConfigError, match="'invoices' is not an input queue"):
            harness.consumer_of("invoices")


# -- time


def test_a_backoff_of_minutes_takes_no_time() -> None:
    """The harness's clock shows the waits, 30 s and 60 s; the real one next to nothing."""
    began = time.monotonic()
    with Harness(engine(failing(2))) as harness:
        harness.send("orders", Order(id=1))
        harness.run()

        assert harness.sent("invoices", Invoice) == [Invoice(order=1, cents=100)]
        assert (harness.attempts, harness.retries) == ([3], 2)
        assert harness.elapsed == pytest.approx(90, abs=0.01)
    assert time.monotonic() - began < 5


def test_a_message_requeued_comes_again_when_its_time_has_come() -> None:
    """`Retry(delay=…)` and False; what is asked for is waited for."""
    answers: list[Any] = [Retry(delay=600), False, None]

    def function(order: Order) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Retry):
            raise answer
        return answer

    with Harness(engine(function)) as harness:
        harness.send("orders", Order(id=1))
        harness.run()

        assert not answers
        assert (harness.requeued, harness.attempts, harness.succeeded) == (2, [3], 1)
        assert harness.elapsed == pytest.approx(660, abs=0.01)  # 600 s, and the backoff after a second attempt


def test_a_delayed_message_is_delivered_when_it_is_due() -> None:
    """One sent by the test, and one that an engine sends to itself."""
    seen: list[int] = []

    def function(order: Order) -> Any:
        seen.append(order.id)
        return Output("orders", Order(id=3), delay=50) if order.id == 2 else None

    app = engine(function, output_queues=["orders"])
    with Harness(app) as harness:
        harness.send("orders", Order(id=1), delay=100)
        harness.send("orders", Order(id=2))
        harness.run()

        assert seen == [2, 3, 1]
        assert harness.elapsed == pytest.approx(100, abs=0.01)
        assert [record.delay for record in harness.records("orders")] == [50]


def test_a_slow_function_takes_no_time_on_the_clock() -> None:
    """A timer of another message waits until the call has returned, so that no outcome hangs on a machine's speed."""

    def function(order: Order) -> Any:
        if order.id == 1 and not tried:
            tried.append(order.id)
            raise ValueError
        time.sleep(0.02)
        seen.append(order.id)

    tried: list[int] = []
    seen: list[int] = []
    with Harness(engine(function, retry={**BACKOFF, "initial_delay": 0.001})) as harness:
        for number in range(1, 5):
            harness.send("orders", Order(id=number))
        harness.run()

        assert seen == [2, 3, 4, 1]
        assert harness.elapsed < 0.01


def test_an_async_function_waits_by_the_same_clock() -> None:
    """Its sleeps and timeouts are jumped over, in their order."""

    async def function(order: Order) -> Any:
        try:
            await asyncio.wait_for(asyncio.sleep(order.cents), 60)
        except TimeoutError:
            return [("invoices", Invoice(order=order.id, cents=-1))]
        return bill(order)

    with Harness(engine(function, concurrency=3)) as harness:
        for number, seconds in enumerate([59, 3600, 1]):
            harness.send("orders", Order(id=number, cents=seconds))
        harness.run()

        assert harness.sent("invoices") == [
            {"order": 2, "cents": 1},
            {"order": 0, "cents": 59},
            {"order": 1, "cents": -1},
        ]
        assert harness.elapsed == pytest.approx(60, abs=0.01)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_message_that_waits_for_its_next_try_holds_up_no_other(is_async: bool) -> None:
    """A hundred that fail once are all tried before the first is tried again, 30 s later."""
    tries: list[int] = []

    def function(order: Order) -> None:
        tries.append(order.id)
        if len(tries) <= 100:
            raise ValueError

    async def async_function(order: Order) -> None:
        function(order)

    with Harness(engine(async_function if is_async else function)) as harness:
        for number in range(100):
            harness.send("orders", Order(id=number))
        harness.run()

        assert tries[:100] == list(range(100))
        assert sorted(tries[100:]) == list(range(100))
        assert 30 <= harness.elapsed < 31


def test_a_thread_that_an_async_function_starts_is_waited_for() -> None:
    """Time does not run away while it works, be it only for 50 ms."""

    async def function(order: Order) -> Any:
        await asyncio.wait_for(asyncio.to_thread(time.sleep, 0.05), 20)
        return bill(order)

    with Harness(engine(function)) as harness:
        harness.send("orders", Order(id=1))
        harness.run()

        assert len(harness.sent("invoices")) == 1
        assert harness.elapsed < 20


# -- what does not succeed


def test_what_fails_for_good_is_a_dead_letter_that_tells_why() -> None:
    """Stage, type, text, attempts, and the message as it was."""
    with Harness(engine(failing(99))) as harness:
        harness.send("orders", Order(id=1), key="k", headers={"h": "v"})
        harness.run()

        (letter,) = harness.dead_letters()
        assert (letter.stage, letter.error_type, letter.error_text) == ("function", "ValueError", "not yet")
        assert (letter.attempts, letter.app, letter.queue) == (3, "billing", "orders")
        assert (letter.record.message, letter.record.key) == (b'{"id":1,"cents":100}', b"k")
        assert letter.record.headers == [("h", b"v")]
        assert harness.sent("rejects") == [b'{"id":1,"cents":100}']
        assert (harness.attempts, harness.retries, harness.left) == ([3], 2, 0)


def test_nothing_is_sent_for_a_result_that_is_not_legal() -> None:
    """It is a failure of the stage `output`."""

    def function(order: Order) -> Any:
        return [*bill(order), ("nowhere", order)]

    with Harness(engine(function)) as harness:
        harness.send("orders", Order(id=1))
        harness.run()

        assert harness.sent("invoices") == []
        assert "'nowhere'" in harness.dead_letters()[0].error_text
        assert harness.dead_letters()[0].stage == "output"


def test_why_an_engine_stops_is_raised_by_run_and_the_message_is_left() -> None:
    """In the engine's own words; the next run finds the message again."""
    app = engine(bill, dead_letter_queue=None)
    with Harness(app) as harness:
        harness.send("orders", b"{")
        for _ in range(2):
            with pytest.raises(
                MessageError, match=r"engine 'billing', queue 'orders'.* message at 1: .*not valid json"
            ):
                harness.run()
            assert harness.left == 1


def test_an_invalid_message_is_skipped_where_the_configuration_says_so() -> None:
    """And counted."""
    with Harness(engine(bill, dead_letter_queue=None, on_invalid="skip")) as harness:
        harness.send("orders", b"{")
        harness.send("orders", Order(id=1))
        harness.run()

        assert (harness.skipped, harness.succeeded, harness.left) == (1, 1, 0)


def test_an_engine_without_a_function_is_refused_by_run() -> None:
    """As when it runs."""
    with (
        Harness(Engine("orders", queue_config=QUEUES)) as harness,
        pytest.raises(FunctionError, match="has no function"),
    ):
        harness.run()


def test_a_message_that_is_requeued_for_ever_ends_at_the_limit() -> None:
    """The text names the engine, the message, its attempts, what was raised, and what to do."""
    app = engine(failing(10**9), dead_letter_queue=None)
    began = time.monotonic()
    with Harness(app, limit=1000) as harness:
        harness.send("orders", Order(id=1))
        with pytest.raises(NotIdle) as caught:
            harness.run()

        text = str(caught.value)
        assert "within 1000 s of its own time (limit)" in text
        assert "engine 'billing'" in text
        assert "queue 'orders'" in text
        assert "at 1, attempt " in text
        assert "calls that raised ValueError: " in text
        assert "dead_letter_queue" in text
        assert harness.left == 1
    assert time.monotonic() - began < 5


def test_a_function_that_never_returns_ends_at_the_real_limit(caplog: pytest.LogCaptureFixture) -> None:
    """The text says that it is being called; the thread is left behind, and all else is cleared up."""
    never = threading.Event()
    with Harness(engine(lambda _order: never.wait()), real_limit=2.0) as harness:
        harness.send("orders", b"1")
        with pytest.raises(NotIdle, match=r"2 s of real time .*a call of its function has not returned"):
            harness.run()
    never.set()
    assert "abandons tasks" not in caplog.text


def test_an_async_function_that_never_returns_ends_at_the_limit() -> None:
    """Here the loop can tell at once that nothing will wake it but its own timers."""

    async def function(order: Any) -> None:
        await asyncio.Event().wait()

    with Harness(engine(function), limit=600) as harness:
        harness.send("orders", b"1")
        with pytest.raises(NotIdle, match="1 of queue 'orders', memory not settled, 1 in flight"):
            harness.run()


def test_a_backend_that_stays_away_is_named_at_the_limit() -> None:
    """With the reason that the health page would show."""
    with Harness(engine(bill), limit=100) as harness:
        harness.producer("invoices").away(times=None)
        harness.send("orders", Order(id=1))
        with pytest.raises(NotIdle, match="output invoices is degraded: the backend of 'invoices' is away"):
            harness.run()


class Stop(BaseException):
    """Not an `Exception`: pytest's own failures are none, either."""


@pytest.mark.parametrize("is_async", [False, True])
def test_a_test_can_fail_inside_the_function(is_async: bool) -> None:
    """What is not an `Exception` goes through `run` to the test, at once."""

    def function(order: Order) -> Any:
        raise Stop

    async def async_function(order: Order) -> Any:
        raise Stop

    began = time.monotonic()
    with Harness(engine(async_function if is_async else function)) as harness:
        harness.send("orders", Order(id=1))
        with pytest.raises(Stop):
            harness.run()
        assert harness.left == 1
    assert time.monotonic() - began < 3


def test_an_exit_inside_an_async_function_leaves_nothing_behind() -> None:
    """`sys.exit` tears the event loop down from inside; the harness can run again."""
    exits = [True]

    async def function(order: Order) -> Any:
        if exits:
            raise SystemExit(exits.pop())
        return bill(order)

    with Harness(engine(function)) as harness:
        harness.send("orders", Order(id=1))
        with pytest.raises(SystemExit):
            harness.run()
        harness.run()

        assert len(harness.sent("invoices")) == 1


# -- one after the other, side by side


def test_a_harness_can_be_run_again() -> None:
    """Each run is a worker's life; what was sent and counted before stays."""
    with Harness(engine(bill)) as harness:
        harness.run()
        assert harness.sent("invoices") == []
        for number in range(3):
            harness.send("orders", Order(id=number))
            harness.run()

        assert [invoice.order for invoice in harness.sent("invoices", Invoice)] == [0, 1, 2]
        assert (harness.succeeded, harness.attempts) == (3, [1, 1, 1])


def test_harnesses_know_nothing_of_each_other() -> None:
    """Two of the same engine, in turns; and the engine itself stays as it was."""
    app = engine(bill)
    with Harness(app) as one, Harness(app) as other:
        one.send("orders", Order(id=1))
        other.send("orders", Order(id=2))
        one.run()
        other.run()

        assert [invoice.order for invoice in one.sent("invoices", Invoice)] == [1]
        assert [invoice.order for invoice in other.sent("invoices", Invoice)] == [2]
    assert app.pipeline is None
    assert app.configuration.queues["orders"].consumer is None


def test_engines_that_share_queues_run_together_until_all_are_at_rest() -> None:
    """What one sends the other gets, in a circle, until nothing is left."""
    up = Engine("even", ["odd"], app_name="up", queue_config={"even": {}, "odd": {}})
    down = Engine("odd", ["even"], app_name="down", queue_config={"even": {}, "odd": {}})
    up.stream_app(lambda number: [("odd", number + 1)])
    down.stream_app(lambda number: [("even", number + 1)] if number < 9 else None)

    with Harness(up, down) as harness:
        harness.send("even", 0)
        harness.run()

        assert (harness.sent("odd"), harness.sent("even")) == ([1, 3, 5, 7, 9], [2, 4, 6, 8])
        assert (harness.succeeded, harness.left) == (10, 0)


def test_one_name_for_two_queues_is_refused() -> None:
    """Then `send` and `sent` would not know which is meant."""
    one = Engine("q", app_name="one", queue_config={"q": {"value": "here"}})
    two = Engine("q", app_name="two", queue_config={"q": {"value": "there"}})

    with pytest.raises(ConfigError, match="'q' is one queue for engine 'two' and another queue"):
        Harness(one, two)


def test_engines_that_cannot_all_begin_leave_nothing_behind() -> None:
    """The threads of the first one end when the second one has no function."""
    before = set(threading.enumerate())
    harness = Harness(engine(bill), Engine("invoices", queue_config=QUEUES))
    with harness, pytest.raises(FunctionError, match="has no function"):
        harness.run()
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive()


def test_what_was_sent_and_not_yet_run_is_left() -> None:
    """Delayed or not."""
    with Harness(engine(bill)) as harness:
        harness.send("orders", Order(id=1))
        harness.send("orders", Order(id=2), delay=60)

        assert (harness.left, harness.attempts, harness.elapsed) == (2, [], 0)


def test_a_harness_needs_an_engine() -> None:
    """Said at once."""
    with pytest.raises(ConfigError, match="needs an engine"):
        Harness()


def test_close_is_idempotent_and_drops_the_messages() -> None:
    """A harness without `with` is closed by hand; nothing of it stays in the process."""
    from penstock_memory.namespaces import queue

    harness = Harness(engine(bill))
    harness.send("orders", Order(id=1))
    harness.run()
    namespace = harness._store._namespace
    assert queue(namespace, ":invoices").depth() == 1
    harness.close()
    harness.close()

    assert queue(namespace, ":invoices").depth() == 0
    assert len(harness.sent("invoices")) == 1


# -- repeatable, and without a trace


def test_the_same_seed_gives_the_same_run() -> None:
    """Jitter and `random` in the function are repeatable, and another seed gives another run."""

    def function(order: Order) -> Any:
        drawn.append(random.random())
        if len(drawn) < 3:
            raise ValueError

    def once(seed: int) -> tuple[float, list[float]]:
        drawn.clear()
        with Harness(engine(function, retry={**BACKOFF, "jitter": 0.5}), seed=seed) as harness:
            harness.send("orders", Order(id=1))
            harness.run()
            return harness.elapsed, list(drawn)

    drawn: list[float] = []

    assert once(1) == once(1)
    assert once(1)[0] != once(2)[0]


def test_the_random_module_is_as_before_afterwards() -> None:
    """Whatever the engine and its function drew."""
    random.seed(42)
    expected = random.random()
    random.seed(42)
    with Harness(engine(failing(1), retry={**BACKOFF, "jitter": 0.5})) as harness:
        harness.send("orders", Order(id=1))
        harness.run()

    assert random.random() == expected


def test_batches_are_the_same_each_time() -> None:
    """Which messages travel together does not depend on how long the function happens to take."""

    def once(seconds: float) -> list[int]:
        def function(orders: list[Order]) -> None:
            time.sleep(seconds)
            sizes.append(len(orders))

        sizes: list[int] = []
        queues = {**QUEUES, "orders": {"batch": True, "data_model": Order}}
        with Harness(engine(function, queues)) as harness:
            for number in range(500):
                harness.send("orders", Order(id=number))
            harness.run()
        return sizes

    quick, slow = once(0.0), once(0.02)

    assert quick == slow
    assert sum(quick) == 500


def test_batches_between_engines_are_the_same_each_time() -> None:
    """Also where one fills the queue while the other one empties it."""

    def once(seconds: float) -> list[int]:
        def forward(number: int) -> Any:
            time.sleep(seconds)
            return ("middle", number)

        queues: dict[str, Any] = {"in": {}, "middle": {"batch": True}}
        first, second = Engine("in", ["middle"], queue_config=queues), Engine("middle", queue_config=queues)
        first.stream_app(forward)
        second.stream_app(lambda numbers: sizes.append(len(numbers)))
        sizes: list[int] = []
        with Harness(first, second) as harness:
            for number in range(100):
                harness.send("in", number)
            harness.run()
        return sizes

    assert once(0.0) == once(0.002)


def test_random_numbers_go_on_from_run_to_run() -> None:
    """Repeatable is not: always the same."""
    drawn: list[float] = []
    with Harness(engine(lambda _order: drawn.append(random.random()))) as harness:
        for _ in range(3):
            harness.send("orders", b"1")
            harness.run()

    assert len(set(drawn)) == 3


def test_a_run_listens_nowhere_and_installs_no_signal_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the configuration says of a metrics port."""

    def refuse(*arguments: Any) -> None:
        raise AssertionError("a harness must not listen")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    monkeypatch.setattr(socket.socket, "listen", refuse)
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    seen: list[Any] = []

    def function(order: Order) -> None:
        seen.extend(signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT))

    with Harness(engine(function, metrics_port=3000)) as harness:
        harness.send("orders", Order(id=1))
        harness.run()

    assert seen == handlers == [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]


def test_no_thread_outlives_a_run() -> None:
    """They end by themselves soon after it."""
    before = set(threading.enumerate())
    with Harness(engine(bill, concurrency=4)) as harness:
        harness.send("orders", Order(id=1))
        harness.run()
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive()


# -- from other kinds of tests


def test_run_works_where_an_event_loop_runs() -> None:
    """In an async test it waits on a thread; context variables and errors come through."""

    variable = contextvars.ContextVar("variable", default="outside")
    seen: list[str] = []

    def function(order: Order) -> None:
        seen.append(variable.get())

    async def main() -> None:
        variable.set("inside")
        with Harness(engine(function)) as harness:
            harness.send("orders", Order(id=1))
            harness.run()
            assert seen == ["inside"]
        with Harness(engine(bill, dead_letter_queue=None)) as harness:
            harness.send("orders", b"{")
            with pytest.raises(MessageError):
                harness.run()

    asyncio.run(main())


def test_arun_lets_the_running_loop_go_on() -> None:
    """A function that reaches a server of the test's own loop gets its answer."""

    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.readline()).upper())
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        async def function(word: str) -> Any:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(word.encode() + b"\n")
            answer = await asyncio.wait_for(reader.readline(), 20)
            writer.close()
            await writer.wait_closed()
            return [("invoices", answer.decode().strip())]

        async with server:
            with Harness(engine(function)) as harness:
                harness.send("orders", "hello")
                await harness.arun()
                assert harness.sent("invoices") == ["HELLO"]

    asyncio.run(main())


def test_a_function_may_run_an_event_loop_of_its_own() -> None:
    """A sync function is called on a thread, as in a worker, so `asyncio.run` works in it."""

    async def slow(order: Order) -> Any:
        return bill(order)

    with Harness(engine(lambda order: asyncio.run(slow(Order(**order))))) as harness:
        harness.send("orders", {"id": 1, "cents": 5})
        harness.run()

        assert harness.sent("invoices", Invoice) == [Invoice(order=1, cents=5)]


def test_what_the_function_sends_meanwhile_is_processed_in_the_same_run() -> None:
    """`send` is safe from its thread."""

    def function(order: Order) -> None:
        seen.append(order.id)
        if order.id < 3:
            harness.send("orders", Order(id=order.id + 1))

    seen: list[int] = []
    with Harness(engine(function)) as harness:
        harness.send("orders", Order(id=1))
        harness.run()

    assert seen == [1, 2, 3]


def test_a_run_inside_a_run_is_refused() -> None:
    """With a word on what to do."""

    def function(order: Order) -> None:
        harness.run()

    with Harness(engine(function, retry={"max_attempts": 1})) as harness:
        harness.send("orders", Order(id=1))
        harness.run()

        assert "is already running" in harness.dead_letters()[0].error_text
        assert harness.dead_letters()[0].error_type == PenstockError.__name__


class TestInUnittest(unittest.TestCase):
    """It asks nothing of pytest."""

    def setUp(self) -> None:
        self.harness = self.enterContext(Harness(engine(bill)))

    def test_an_invoice_is_sent(self) -> None:
        """By `enterContext`, the harness lasts as long as the test."""
        self.harness.send("orders", Order(id=1))
        self.harness.run()
        assert self.harness.sent("invoices", Invoice) == [Invoice(order=1, cents=100)]


def test_what_is_no_engine_is_refused_by_name() -> None:
    """For example a function that is not decorated."""
    with pytest.raises(ConfigError, match=r"^a harness takes an Engine, or a function decorated .*; bill is neither$"):
        Harness(bill)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("error")
def test_a_closed_harness_says_that_it_is_closed() -> None:
    """Nothing of Python's about event loops and coroutines; what it did can be looked at."""
    with Harness(engine(bill)) as harness:
        harness.send("orders", {"id": 1})
        harness.run()

    with pytest.raises(PenstockError, match=r"^this harness is closed; call run\(\) inside its `with`"):
        harness.run()
    assert harness.succeeded == 1


@pytest.mark.parametrize("delay", ["5", True, float("nan"), -1], ids=repr)
def test_a_delay_that_is_not_a_number_of_seconds_is_refused(delay: Any) -> None:
    """Where it was written, rather than as a message that never comes."""
    engine = Engine(input_queue="in", queue_config={"queues": [{"name": "in", "profile": "memory"}]})
    engine.stream_app(lambda _: None)

    with Harness(engine) as harness, pytest.raises(ValueError, match="a message for 'in': its delay is"):
        harness.send("in", 1, delay=delay)
