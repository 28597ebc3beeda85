"""Every kind of function that an engine runs, as a user writes it, with its own type kept."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any, assert_type

from pydantic import BaseModel

from penstock import Engine, Output, QueueMessage, Retry

app = Engine("orders", ["invoices"], "billing", "rejects")


class Order(BaseModel):
    """What comes in."""

    id: int


class Invoice(BaseModel):
    """What goes out."""

    order: int


@app.stream_app
def plain(order: Order) -> list[tuple[str, Invoice]]:
    return [("invoices", Invoice(order=order.id))]


@Engine("orders").stream_app
def undecided(order: Order) -> bool | list[tuple[str, Invoice]] | None:
    if order.id < 0:
        raise Retry(delay=5, reason="not yet")
    return order.id > 10 or None


@Engine("orders").stream_app
def one_output(order: Order) -> Output:
    return Output("invoices", Invoice(order=order.id), key=str(order.id), headers={"a": b"b"}, delay=1.5, partition=3)


typed = Engine("orders")
invoices = typed.output("invoices", Invoice)
anything = typed.output("audit")


@typed.stream_app
def typed_outputs(order: Order, msg_ctx: QueueMessage) -> list[Output]:
    return [invoices(Invoice(order=order.id), key=msg_ctx.key), anything({"id": order.id}, delay=1.5)]


@Engine("orders").stream_app
def pairs(order: Order) -> tuple[str, Invoice]:
    return "invoices", Invoice(order=order.id)


@Engine("orders").stream_app
def with_options(order: Order) -> tuple[str, Invoice, dict[str, Any]]:
    return "invoices", Invoice(order=order.id), {"priority": 3}


@Engine("orders").stream_app
def mixed(order: Order) -> list[tuple[str, Invoice] | Output]:
    return [("invoices", Invoice(order=order.id)), Output("rejects", order, headers=[("a", "b"), ("c", b"d")])]


@Engine("orders").stream_app
async def coroutine(order: Order) -> list[tuple[str, Invoice]]:
    return plain(order)


@Engine("orders").stream_app
def generator(order: Order) -> Iterator[tuple[str, Invoice]]:
    yield "invoices", Invoice(order=order.id)


@Engine("orders").stream_app
async def async_generator(order: Order) -> AsyncIterator[tuple[str, Invoice]]:
    yield "invoices", Invoice(order=order.id)


@Engine("orders").stream_app
def with_context(order: Order, msg_ctx: QueueMessage) -> bool:
    return msg_ctx.attempts < 3 and order.id > 0


@Engine("orders").stream_app
def batch(orders: list[Order], msg_ctx: list[QueueMessage]) -> None:
    assert len(orders) == len(msg_ctx)


class Biller:
    """Has state."""

    def __init__(self, currency: str) -> None:
        self.currency = currency

    def bill(self, order: Order) -> tuple[str, Invoice]:
        return "invoices", Invoice(order=order.id)

    async def __call__(self, order: Order) -> None:
        self.bill(order)


bill = Engine("orders").stream_app(Biller("EUR").bill)
call = Engine("orders").stream_app(Biller("EUR"))
partial = Engine("orders").stream_app(functools.partial(Biller.bill, Biller("USD")))

order = Order(id=1)

# With a message it is the function itself.
assert_type(plain(order), list[tuple[str, Invoice]])
assert_type(plain(order=order), list[tuple[str, Invoice]])
assert_type(undecided(order), bool | list[tuple[str, Invoice]] | None)
assert_type(one_output(order), Output)
assert_type(pairs(order)[1].order, int)
assert_type(generator(order), Iterator[tuple[str, Invoice]])
assert_type(async_generator(order), AsyncIterator[tuple[str, Invoice]])
assert_type(with_context(order, QueueMessage(None, b"")), bool)
assert_type(bill(order), tuple[str, Invoice])
assert_type(plain.engine, Engine)


async def a_test_of_the_function() -> None:
    """As a user tests an async function: no engine, no broker."""
    assert_type(await coroutine(order), list[tuple[str, Invoice]])
    awaited: Awaitable[None] = call(order)
    await awaited
    async for queue, invoice in async_generator(order):
        assert_type(queue, str)
        assert_type(invoice, Invoice)


def run_them() -> None:
    """With nothing it runs its engine."""
    plain()
    coroutine()
    batch()
    bill()


asyncio.run(a_test_of_the_function())
