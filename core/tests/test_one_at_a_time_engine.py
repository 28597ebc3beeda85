"""An engine between two classes that are written as the reference's page on plugins shows them."""

from __future__ import annotations

from typing import Any

from core.tests.foreign import Foreign, RowProducer, Table
from pydantic import BaseModel

from penstock import Engine, QueueConfig, QueueMessage, Worker
from penstock.config.model import WorkerSettings


class Order(BaseModel):
    """A row of the table."""

    id: int
    amount: float


class Doubled(BaseModel):
    """What is inserted."""

    id: int
    amount: float


class OrdersConsumer(Foreign):
    """Selects a row, deletes it when it is done, releases it when it failed."""

    def consume(self) -> QueueMessage | None:
        if not self.table.rows:
            return None
        row = self.table.rows.pop(0)
        return QueueMessage(message_context=row["id"], message=row)

    def on_success(self, message_context: Any) -> None:
        self.table.ask("on_success", message_context)

    def on_fail(self, message_context: Any) -> None:
        self.table.ask("on_fail", message_context)


def test_rows_go_in_and_bytes_come_out() -> None:
    """With the serializer turned off, as the reference has it: the model handler reads the rows."""
    source = Table({"id": 1, "amount": 1.5}, {"id": 2, "amount": 2.5}, {"id": 3, "amount": "much"})
    target, rejected = Table(), Table()
    queues = [
        QueueConfig(
            name="orders",
            value="orders_table",
            consumer=OrdersConsumer,
            serializer="disabled",
            model_handler="pydantic",
            data_model=Order,
            config={"table": source, "host": "db"},
        ),
        QueueConfig(name="doubled", producer=RowProducer, serializer=None, config={"table": target}),
        QueueConfig(
            name="rejects", producer=RowProducer, serializer=None, model_handler=None, config={"table": rejected}
        ),
    ]
    engine = Engine("orders", ["doubled"], dead_letter_queue="rejects", queue_config=queues, metrics_port=None)

    @engine.stream_app
    def double(order: Order, msg_ctx: int) -> list[tuple[str, Doubled]]:
        assert msg_ctx == order.id
        return [("doubled", Doubled(id=order.id, amount=order.amount * 2))]

    Worker([engine], WorkerSettings(), drain=True).run()

    assert source.made_with == [("orders_table", "db", {})]
    assert sorted(source.asked) == ["make", "on_success 1", "on_success 2", "on_success 3", "shutdown"]
    assert target.asked == [
        "make",
        """produce doubled b'{"id":1,"amount":3.0}' None {}""",
        """produce doubled b'{"id":2,"amount":5.0}' None {}""",
        "shutdown",
    ]
    assert len(rejected.asked) == 3
    assert "much" in rejected.asked[1]
    assert "penstock-error-stage" in rejected.asked[1]
