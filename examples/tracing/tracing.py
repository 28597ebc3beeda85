"""Each call of a function becomes a span of a trace, which goes on with its outputs (W3C Trace Context)."""

import secrets
from collections.abc import Iterator
from time import perf_counter

from penstock.middleware import Call


def trace(call: Call) -> Iterator[None]:
    """Continue the message's trace, or begin one."""
    parent = (call.header("traceparent") or b"").decode()
    trace_id, span_id = parent[3:35] or secrets.token_hex(16), secrets.token_hex(8)
    call.add_header("traceparent", f"00-{trace_id}-{span_id}-01")
    started, outcome = perf_counter(), "ok"
    try:
        yield  # the function is called here
    except Exception as error:
        outcome = type(error).__name__
        raise
    finally:
        seconds = perf_counter() - started
        name, came_from = call.engine.function, parent[36:52] or "nothing"
        print(f"{name}: {outcome} in {seconds:.6f} s, trace {trace_id}, span {span_id}, after {came_from}")
