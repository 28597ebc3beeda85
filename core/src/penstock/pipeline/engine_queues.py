"""The queues of one engine, opened and closed together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from penstock.observability.metrics import EngineMetrics
from penstock.pipeline.state import EngineState
from penstock.queues.queue import InputQueue, OutputQueue


class EngineQueues:
    """Opens and closes.

    Args:
        source: The input queue.
        targets: Output queues by name, the dead-letter queue among them.
        metrics: Where the state of their connections is shown.

    Attributes:
        opened: Whether all queues were opened.
    """

    def __init__(self, source: InputQueue, targets: Mapping[str, OutputQueue], metrics: EngineMetrics) -> None:
        self.source = source
        self.targets = targets
        self.opened = False
        for queue in (source, *targets.values()):
            metrics.watch_connected(queue.name, lambda queue=queue: queue.connected)  # type: ignore[misc]

    async def open(self, connect_timeout: float | None, state: EngineState) -> bool:
        """Open all queues; False if the engine was stopped meanwhile.

        Raises:
            ConnectorError: the first queue that cannot be opened ends it for all.
        """
        opening = [asyncio.create_task(queue.open(connect_timeout)) for queue in (self.source, *self.targets.values())]
        stopped = asyncio.create_task(state.wait_for_stop())
        waiting: set[asyncio.Task[Any]] = {*opening, stopped}
        try:
            while not state.stopping and not all(task.done() for task in opening):
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in (*opening, stopped):
                task.cancel()
            await asyncio.gather(*opening, stopped, return_exceptions=True)
        self.opened = all(not task.cancelled() for task in opening)
        return self.opened

    async def close(self) -> bool:
        """Close all queues; returns whether the input queue closed cleanly."""
        for queue in self.targets.values():  # first: what they still confirm can then be settled
            await queue.close()
        return await self.source.close()
