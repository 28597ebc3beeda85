"""The names of Romeways, as its document prints them: `import penstock_compat.romeways as romeways`.

Each handler is an engine. A message is settled when its handler has returned, or when it was sent again; a handler
that raises any other exception is called again, and then the message is requeued.
"""

from __future__ import annotations

from penstock_compat.romeways.configs import (
    GenericConnectorConfig,
    GenericQueueConfig,
    KafkaConnectorConfig,
    KafkaQueueConfig,
    MemoryConnectorConfig,
    MemoryQueueConfig,
    Message,
    ResendException,
)
from penstock_compat.romeways.connectors import (
    AQueueConnector,
    KafkaQueueConnector,
    MemoryQueueConnector,
    PenstockConnector,
    PenstockConnectorConfig,
)
from penstock_compat.romeways.registry import connector_register, queue_consumer, start

__all__ = [
    "AQueueConnector",
    "GenericConnectorConfig",
    "GenericQueueConfig",
    "KafkaConnectorConfig",
    "KafkaQueueConfig",
    "KafkaQueueConnector",
    "MemoryConnectorConfig",
    "MemoryQueueConfig",
    "MemoryQueueConnector",
    "Message",
    "PenstockConnector",
    "PenstockConnectorConfig",
    "ResendException",
    "connector_register",
    "queue_consumer",
    "start",
]
