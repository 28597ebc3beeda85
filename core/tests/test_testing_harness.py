"""The harness: what a test sees of an engine, and what it does not have to wait for."""

from __future__ import annotations

import asyncio
import contextvars
import unittest
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from core.tests.billing import QUEUES, Invoice, Order, bill, engine

from penstock import Engine, Output, QueueMessage
from penstock.errors import ConfigError, InvalidMessage, MessageError, PenstockError
from penstock.testing import Harness

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
