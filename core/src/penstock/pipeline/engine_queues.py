"""The queues and resources of one engine, opened and closed together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from penstock.observability.counting import EngineMetrics
from penstock.pipeline.open_resources import OpenResources
from penstock.pipeline.state import EngineState
from penstock.queues.queue import InputQueue, OutputQueue


class EngineQueues:
    """Opens and closes.

    Args:
        source: The input queue.
        targets: Output queues by name, the dead-letter queue among them.
        metrics: Where the state of their connections is shown.
        resources: What its functions take.

    Attributes:
        opened: Whether all queues were opened.
    """

    def __init__(
        self, source: InputQueue, targets: Mapping[str, OutputQueue], metrics: EngineMetrics, resources: OpenResources
    ) -> None:
        self._resources = resources
        self.source = source
        self.targets = targets
        self.opened = False
        for queue in (source, *targets.values()):
            metrics.watch_connected(queue.name, lambda queue=queue: queue.connected)  # type: ignore[misc]

    async def open(self, connect_timeout: float | None, state: EngineState) -> bool:
        """Open everything; False if the engine was stopped meanwhile.

        Raises:
            PenstockError: the first queue or resource that cannot be opened ends it for all.
        """
        opening = [asyncio.create_task(queue.open(connect_timeout)) for queue in (self.source, *self.targets.values())]
        opening.append(asyncio.create_task(self._resources.open()))
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

    async def close(self, timeout: float) -> bool:
        """Close everything; returns whether the input queue closed cleanly.

        Args:
            timeout: Seconds that each resource may take.
        """
        for queue in self.targets.values():  # first: what they still confirm can then be settled
            await queue.close()
        clean = await self.source.close()
        await self._resources.close(timeout)
        return clean
