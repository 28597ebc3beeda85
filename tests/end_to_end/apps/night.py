"""Books orders. With BROKEN it is a deployment whose function fails for one kind of order."""

from __future__ import annotations

import os
from typing import Any

from penstock import Engine

app = Engine("orders", ["bookings"], app_name="till", dead_letter_queue="rejects", config="queues.yml")


@app.stream_app
def book(order: dict[str, Any]) -> Any:
    if "BROKEN" in os.environ and order["kind"] == "refund":
        raise KeyError("amount")
    return ("bookings", order)
