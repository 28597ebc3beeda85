"""The trace that a message brings goes on with what is made of it."""

import app

from penstock.testing import Harness


def test_the_trace_goes_on() -> None:
    trace_id, span_id = "ab" * 16, "cd" * 8
    with Harness(app.bill) as harness:
        harness.send("orders", {"id": 7, "cents": 100}, headers={"traceparent": f"00-{trace_id}-{span_id}-01"})
        harness.run()
        ((name, value),) = harness.records("invoices")[0].headers

    assert name == "traceparent"
    assert value[:36] == f"00-{trace_id}-".encode()
    assert span_id.encode() not in value
