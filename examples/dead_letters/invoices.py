"""Makes an invoice of each order. An order that cannot be read, or whose item has no price, goes to `rejects`."""

import json
from pathlib import Path

from pydantic import BaseModel

from penstock import Engine


class Order(BaseModel):
    """So many of an item."""

    id: int
    item: str
    count: int


class Invoice(BaseModel):
    """What an order costs."""

    order_id: int
    cents: int


app = Engine(
    app_name="invoices",
    input_queue="orders",
    output_queues=["invoices"],
    dead_letter_queue="rejects",
    config="queues.yml",
)
PRICES = json.loads(Path("prices.json").read_text())


@app.stream_app
def invoice(order: Order) -> tuple[str, Invoice]:
    if order.item not in PRICES:
        raise LookupError(f"no price for {order.item}")
    return "invoices", Invoice(order_id=order.id, cents=order.count * PRICES[order.item])
