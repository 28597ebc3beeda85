"""Takes orders from Kafka and sends an invoice for each to Redis; an order of an unknown customer waits."""

from pathlib import Path

from pydantic import BaseModel

from penstock import Engine, Retry

app = Engine(
    app_name="billing",
    input_queue="orders",
    output_queues=["invoices"],
    dead_letter_queue="rejects",
    config=Path(__file__).with_name("queues.yml"),
    retry={"max_attempts": 4, "initial_delay": 30, "max_delay": 600},
)

customers = {"ann": "Ann, 1 First Street"}


class Order(BaseModel):
    """What comes in."""

    id: int
    customer: str
    cents: int


class Invoice(BaseModel):
    """What goes out."""

    order: int
    address: str
    cents: int


@app.stream_app
def bill(order: Order) -> list[tuple[str, Invoice]]:
    if order.cents < 0:
        raise ValueError("an order cannot cost less than nothing")
    if order.customer not in customers:
        raise Retry(delay=3600, reason="the customer is not known yet")
    return [("invoices", Invoice(order=order.id, address=customers[order.customer], cents=order.cents))]


if __name__ == "__main__":
    bill()
