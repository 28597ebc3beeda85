"""Takes paid orders from RabbitMQ; tells the warehouse through SQS, and the accountants by a row in PostgreSQL."""

from pydantic import BaseModel

from penstock import Engine, Output


class Order(BaseModel):
    number: int
    city: str
    cents: int


app = Engine("orders", ["shipments", "sales"], dead_letter_queue="rejects", app_name="billing", config="queues.yml")


@app.stream_app
def bill(order: Order) -> list[Output]:
    shipment = {"order": order.number, "city": order.city}
    return [
        Output("shipments", shipment, key=order.city, deduplication_id=f"order-{order.number}"),
        Output("sales", {"order": order.number, "cents": order.cents}),
    ]
