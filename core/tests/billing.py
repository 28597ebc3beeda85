"""An engine that bills orders, for tests of the harness."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from penstock import Engine


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
