"""Two kinds of test: the function as the function it is, and the engine around it on queues in memory."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from shipping import Order, Parcel, ship

from penstock import Retry
from penstock.cli.main import main
from penstock_memory import reset

HERE = Path(__file__).parent
OUTPUTS = ("parcels", "letters", "rejects")


# The function: called with a message it is just that. Nothing is connected, no configuration is read.


def test_a_heavy_order_in_the_country_goes_by_courier() -> None:
    assert ship(Order(id=1, grams=2_000, country="NL")) == ("parcels", Parcel(order_id=1, service="courier"))


def test_an_order_without_an_address_is_tried_again_in_a_minute() -> None:
    with pytest.raises(Retry) as caught:
        ship(Order(id=2, grams=100, country="??"))
    assert caught.value.delay == 60.0


# The engine: what the function does not see. Bytes that are not an order, retries, dead letters, the names of queues.


@pytest.fixture(autouse=True)
def empty_queues() -> Iterator[None]:
    """Queues in memory live as long as the process: each test begins with empty ones."""
    reset()
    yield
    reset()


def run(folder: Path, *lines: str) -> dict[str, list[dict]]:
    """Feed lines to the engine until all is done; what lies in each output queue afterwards."""
    (folder / "orders.jsonl").write_text("\n".join(lines))
    collect = [word for name in OUTPUTS for word in ("--collect", f"{name}={folder / name}.jsonl")]
    arguments = [str(HERE / "shipping.py"), "--config", str(HERE / "queues.test.yml"), "--drain", *collect]
    code = main(["run", *arguments, "--feed", f"orders={folder / 'orders.jsonl'}"])
    assert code == 0
    return {
        name: [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()] for name in OUTPUTS
    }


def test_each_order_reaches_the_queue_of_its_service(tmp_path: Path) -> None:
    found = run(tmp_path, '{"id": 1, "grams": 900, "country": "NL"}', '{"id": 2, "grams": 90, "country": "BE"}')
    assert found["parcels"] == [{"order_id": 1, "service": "courier"}]
    assert found["letters"] == [{"order_id": 2, "service": "post"}]


def test_what_cannot_be_shipped_is_a_dead_letter_with_its_reason(tmp_path: Path) -> None:
    found = run(tmp_path, '{"id": 1, "grams": 99999, "country": "NL"}', '{"id": 2, "grams": 0, "country": "NL"}')
    letters = [dict(letter["headers"]) for letter in found["rejects"]]
    assert {letter["penstock-error-stage"]: letter["penstock-attempts"] for letter in letters} == {
        "function": "3",
        "validate": "1",
    }
    assert not found["parcels"]
