"""Several engines in a harness, and runs that leave no trace."""

from __future__ import annotations

import random
import signal
import socket
import threading
import time
from typing import Any

import pytest
from core.tests.billing import BACKOFF, QUEUES, Invoice, Order, bill, engine, failing

from penstock import Engine
from penstock.errors import ConfigError, FunctionError
from penstock.testing import Harness

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
