"""The clock of a harness, and what a test sees of a run that does not succeed."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from core.tests.billing import BACKOFF, QUEUES, Invoice, Order, bill, engine, failing

from penstock import Engine, Output, Retry
from penstock.errors import FunctionError, MessageError
from penstock.testing import Harness, NotIdle

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
