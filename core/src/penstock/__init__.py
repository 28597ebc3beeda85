"""Penstock runs a plain Python function between named queues.

The names below are loaded on first use, so that `import penstock`, and a plugin's import of one of its modules, stays
cheap.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from penstock.exports import OfferedModules, lazy_exports
from penstock.version import __version__

if TYPE_CHECKING:
    from penstock.blocking import BlockingConsumer, BlockingProducer
    from penstock.config.model import QueueConfig, WorkerSettings
    from penstock.connectors import Consumer, Producer
    from penstock.data_models import GenericMessage
    from penstock.direct.blocking import BlockingQueues
    from penstock.direct.queues import Queues
    from penstock.engine import Engine
    from penstock.errors import PenstockError, Retry
    from penstock.message import QueueMessage, Record
    from penstock.model_handlers import ModelHandler
    from penstock.retry import RetryPolicy
    from penstock.routing import Output, TypedOutput
    from penstock.serializers import Serializer
    from penstock.worker.worker import Worker

_HOMES = {
    "BlockingConsumer": "penstock.blocking",
    "BlockingProducer": "penstock.blocking",
    "BlockingQueues": "penstock.direct.blocking",
    "Consumer": "penstock.connectors",
    "Engine": "penstock.engine",
    "GenericMessage": "penstock.data_models",
    "ModelHandler": "penstock.model_handlers",
    "Output": "penstock.routing",
    "PenstockError": "penstock.errors",
    "Producer": "penstock.connectors",
    "QueueConfig": "penstock.config.model",
    "QueueMessage": "penstock.message",
    "Queues": "penstock.direct.queues",
    "Record": "penstock.message",
    "Retry": "penstock.errors",
    "RetryPolicy": "penstock.retry",
    "Serializer": "penstock.serializers",
    "TypedOutput": "penstock.routing",
    "Worker": "penstock.worker.worker",
    "WorkerSettings": "penstock.config.model",
}

__all__ = [
    "BlockingConsumer",
    "BlockingProducer",
    "BlockingQueues",
    "Consumer",
    "Engine",
    "GenericMessage",
    "ModelHandler",
    "Output",
    "PenstockError",
    "Producer",
    "QueueConfig",
    "QueueMessage",
    "Queues",
    "Record",
    "Retry",
    "RetryPolicy",
    "Serializer",
    "TypedOutput",
    "Worker",
    "WorkerSettings",
    "__version__",
]


if not TYPE_CHECKING:  # a type checker that saw it would take every misspelt name for Any
    __getattr__ = lazy_exports(__name__, _HOMES)

sys.meta_path.append(OfferedModules)  # the last one: it is asked for what no other finder finds


def __dir__() -> list[str]:
    return __all__
