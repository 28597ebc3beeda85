"""Counts what is in queues of a configuration, without joining a group: what waits, is in flight, is delayed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Self

from penstock.config.model import Configuration
from penstock.errors import ConfigError, ConnectorError, PluginError
from penstock.operations import open as open_queue
from penstock.queues.browsing import BrowsedQueue
from penstock.results import Backlog


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of one queue.

    Attributes:
        name: The queue.
        connector: Its connector; empty if that is not known.
        backlog: Its counts; None if they could not be read.
        problem: Why not.
        cannot: It can never be counted like this: its connector or its options lack what is needed.
    """

    name: str
    connector: str
    backlog: Backlog | None = None
    problem: str = ""
    cannot: bool = False


class Backlogs:
    """Queues that are counted as often as wanted. Counting them takes as long as the slowest one.

    Args:
        configuration: Where the queues are.
        names: The queues.
    """

    def __init__(self, configuration: Configuration, names: Sequence[str]) -> None:
        self._configuration = configuration
        self._names = names
        self._queues: dict[str, BrowsedQueue | Measured] = {}
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for name in self._names:
            try:
                queue = open_queue.measure(self._configuration, name)
            except (ConfigError, PluginError) as error:
                self._queues[name] = Measured(name, "", problem=str(error), cannot=True)
            else:
                self._queues[name] = await self._open.enter_async_context(queue)
        return self

    async def measure(self) -> list[Measured]:
        """Count all of them now."""
        return await asyncio.gather(*map(self._measure, self._names))

    async def _measure(self, name: str) -> Measured:
        queue = self._queues[name]
        if isinstance(queue, Measured):
            return queue
        connector = queue.resolved.connector
        try:
            return Measured(name, connector, await queue.backlog())
        except ConnectorError as error:
            return Measured(name, connector, problem=str(error))

    async def __aexit__(self, *_error: object) -> None:
        await self._open.aclose()
