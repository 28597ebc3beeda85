"""An engine in a process of its own, for tests that end it.

Its function takes a moment for each message, logs it and sends it on. Like `child.py` it waits for a word of its parent
before it begins.
"""

from __future__ import annotations

import time
from typing import Any

from penstock import Engine, Worker, WorkerSettings
from penstock.events import Event, StateChanged
from penstock_kit.child import Go, Log

CONNECT_TIMEOUT = 120.0  # seconds; longer than any test


def main(job: dict[str, Any], go: Go) -> None:
    """Run the engine until a signal.

    Args:
        job: `queues`, its configuration, with the queues "in" and "out"; `work_seconds`, seconds of work for a message;
            `shutdown_timeout`, in seconds; `settings` of the engine.
        go: Waits for a word of the parent.
    """
    log = Log(job["log"])
    engine = Engine("in", ["out"], "conformance", queue_config=job["queues"], metrics_port=None, **job["settings"])

    @engine.stream_app
    def work(body: bytes) -> tuple[str, bytes]:
        time.sleep(job["work_seconds"])
        log.write("did", body)
        return "out", body

    @engine.observer
    def note_outage(event: Event) -> None:
        if isinstance(event, StateChanged) and event.state == "degraded":
            log.write("degraded", event.reason.encode())

    settings = WorkerSettings(
        metrics_port=None, connect_timeout=CONNECT_TIMEOUT, shutdown_timeout=job["shutdown_timeout"]
    )
    worker = Worker([engine], settings)
    log.write("loaded")
    go()
    worker.run()
