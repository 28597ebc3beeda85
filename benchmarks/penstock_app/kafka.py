"""The same work under Penstock, with its defaults.

python -m benchmarks.penstock_app.kafka BOOTSTRAP SOURCE TARGET MESSAGES
"""

from __future__ import annotations

import asyncio
import sys

from benchmarks.clock import Clock
from benchmarks.work import Peak, Reading, peak
from penstock import Engine
from penstock.config.model import WorkerSettings
from penstock.worker.worker import Worker

LOOK = 0.002  # seconds between two looks at how far it is


async def run(bootstrap: str, source: str, target: str, messages: int) -> None:
    """Run an engine until it has settled `messages` messages, print the result."""
    servers = {"bootstrap.servers": bootstrap}
    app = Engine(
        "source",
        ["target"],
        queue_config={
            "source": {"connector": "kafka", "value": source, "config": servers | {"group.id": f"penstock-{target}"}},
            "target": {"connector": "kafka", "value": target, "config": servers, "data_model": Peak},
        },
    )

    @app.stream_app
    def work(reading: Reading) -> list[tuple[str, Peak]]:
        return [("target", peak(reading))]

    worker, clock = Worker([app], WorkerSettings(metrics_port=None)), Clock()
    serving = asyncio.create_task(worker.serve())
    while app.pipeline is None or app.pipeline.done < messages:
        await asyncio.sleep(LOOK)
        if app.pipeline is not None and (app.pipeline.in_flight or app.pipeline.done):
            clock.go()
        if serving.done():
            await serving
    clock.show(app.pipeline.done)
    worker.stop()
    await serving


if __name__ == "__main__":
    asyncio.run(run(*sys.argv[1:4], int(sys.argv[4])))
