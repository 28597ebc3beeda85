"""Calls of a decorated function, and outputs, that a type checker must refuse. Each line says how."""

# ruff: noqa: B018  (the mistakes are the point)

from __future__ import annotations

from pydantic import BaseModel

from penstock import Engine, Output, Retry
from penstock.builtin.timeout import Timeout
from penstock.middleware import Call
from penstock.routes import Report

app = Engine("orders")


class Order(BaseModel):
    """What comes in."""

    id: int


@app.stream_app
def main(order: Order) -> list[tuple[str, int]]:
    return [("invoices", order.id)]


@app.stream_app
async def later(order: Order) -> bool:
    return order.id > 0


order = Order(id=1)

main("no order")  # error: call-overload
main(order, order)  # error: call-overload
main(orders=order)  # error: call-overload
main(order).append(5)  # error: arg-type
number: int = main(order)  # error: assignment
truth: bool = later(order)  # error: assignment
main.name  # error: attr-defined

Output()  # error: call-arg
Output("invoices")  # error: call-arg
Output(5, order)  # error: arg-type
Output("invoices", order, key=5)  # error: arg-type
Output("invoices", order, headers={"a": 1})  # error: arg-type
Output("invoices", order, delay="soon")  # error: arg-type

orders = app.output("orders", Order)
orders(5)  # error: arg-type
orders(order, key=5)  # error: arg-type
app.output("orders", 5)  # error: call-overload
truth = orders(order)  # error: assignment

Retry(delay="soon")  # error: arg-type
Retry(after=5)  # error: call-arg

app.stream_app(order)  # error: arg-type


@Engine(input_queue="orders").stream_app  # error: type-var
def a_text_is_no_result(order: Order) -> str:
    return order.model_dump_json()


@Engine(input_queue="orders").stream_app  # error: type-var
async def a_number_is_no_result(order: Order) -> int:
    return order.id


def not_a_middleware(call: Call) -> None:
    del call


Engine("orders", middleware=[not_a_middleware])  # error: list-item
Timeout(seconds="soon")  # error: arg-type


@app.route("/text")  # error: type-var
def text(report: Report) -> str:
    return str(report())
