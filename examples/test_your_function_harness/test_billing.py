"""Tests of `billing.py`, from its queues' point of view: no broker, no mock, no waiting."""

from collections.abc import Iterator

import billing
import pytest
from billing import Invoice, Order

from penstock.testing import Harness

INVOICE = Invoice(order=1, address="Ann, 1 First Street", cents=250)


@pytest.fixture
def harness() -> Iterator[Harness]:
    with Harness(billing.bill) as harness:
        yield harness


def test_an_order_becomes_an_invoice(harness: Harness) -> None:
    harness.send("orders", Order(id=1, customer="ann", cents=250), key="ann")
    harness.run()

    assert harness.sent("invoices", Invoice) == [INVOICE]
    assert harness.left == 0


def test_an_order_of_an_unknown_customer_waits_until_he_is_known(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Later(dict[str, str]):
        def __contains__(self, name: object) -> bool:
            return harness.elapsed >= 7200  # two hours, by the harness's clock

    monkeypatch.setattr(billing, "customers", Later(billing.customers))
    harness.send("orders", Order(id=1, customer="ann", cents=250))
    harness.run()

    assert harness.sent("invoices", Invoice) == [INVOICE]
    assert harness.requeued == 2


def test_an_impossible_order_is_rejected_after_four_tries(harness: Harness) -> None:
    harness.send("orders", Order(id=1, customer="ann", cents=-1))
    harness.run()

    (letter,) = harness.dead_letters()
    assert (letter.stage, letter.attempts, letter.queue) == ("function", 4, "shop.orders.v1")
    assert letter.error_text == "an order cannot cost less than nothing"
    assert harness.attempts == [4]


def test_what_is_no_order_is_rejected_at_once(harness: Harness) -> None:
    harness.send("orders", {"id": 1, "customer": "ann"})
    harness.send("orders", b"not even JSON")
    harness.run()

    assert [letter.stage for letter in harness.dead_letters()] == ["validate", "decode"]


def test_no_invoice_is_lost_while_redis_is_away(harness: Harness) -> None:
    harness.producer("invoices").away(seconds=600)
    harness.send("orders", Order(id=1, customer="ann", cents=250))
    harness.run()

    assert harness.sent("invoices", Invoice) == [INVOICE]
    assert harness.elapsed >= 600


def test_an_order_that_is_delivered_twice_is_billed_twice(harness: Harness) -> None:
    """At least once means this; readers of the invoices must expect it."""
    harness.consumer.repeat()
    harness.send("orders", Order(id=1, customer="ann", cents=250))
    harness.run()

    assert harness.sent("invoices", Invoice) == [INVOICE, INVOICE]
