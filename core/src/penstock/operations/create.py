"""Creates queues of a configuration in their backends. What is there stays as it is."""

from __future__ import annotations

from penstock.config.model import Configuration
from penstock.errors import NotConnected
from penstock.operations import open as open_queue
from penstock.results import Created


async def create(configuration: Configuration, name: str) -> Created:
    """Create one queue, unless it is there.

    Raises:
        ConfigError: the queue is not in the configuration, or its connector cannot create it.
        ConnectorError: the backend is away, or refuses.
    """
    queue = open_queue.create(configuration, name)
    try:
        return await queue.create()
    except NotConnected as error:
        raise NotConnected(f"{queue}: {error}", error.retry_after) from error
    finally:
        await queue.close()
