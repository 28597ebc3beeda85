"""Decides how an order is sent. This is the program under test; nothing in it is there for the tests."""

from pydantic import BaseModel, Field

from penstock import Engine, Retry


class Order(BaseModel):
    """What is to be sent, and where to."""

    id: int
    grams: int = Field(gt=0)
    country: str


class Parcel(BaseModel):
    """What the warehouse gets."""

    order_id: int
    service: str


app = Engine(
    app_name="shipping",
    input_queue="orders",
    output_queues=["parcels", "letters"],
    dead_letter_queue="rejects",
    config="queues.yml",
)


@app.stream_app
def ship(order: Order) -> tuple[str, Parcel]:
    if order.country == "??":
        raise Retry(delay=60.0, reason="the address is still being looked up")
    if order.grams > 30_000:
        raise ValueError(f"{order.grams} g is too heavy for every service")
    if order.grams < 500:
        return "letters", Parcel(order_id=order.id, service="post")
    return "parcels", Parcel(order_id=order.id, service="courier" if order.country == "NL" else "freight")


if __name__ == "__main__":
    ship()
