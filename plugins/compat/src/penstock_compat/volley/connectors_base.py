"""As `volley.connectors.base`: what a connector of py-volley is derived from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from penstock.message import QueueMessage

__all__ = ["BaseConsumer", "BaseProducer"]


@dataclass
class BaseConsumer(ABC):
    """A consumer that is written one message at a time.

    Attributes:
        queue_name: The queue's `value`.
        host: The `host` of its `config`.
        config: The rest of it.
    """

    queue_name: str
    host: str | None = None
    config: dict[str, Any] = field(default_factory=dict)

    @abstractmethod
    def consume(self) -> QueueMessage | None:
        """Take one message; None if there is none now. It does not wait."""

    @abstractmethod
    def on_success(self, message_context: Any) -> None:
        """Settle a message for good: delete it, mark it as done."""

    @abstractmethod
    def on_fail(self, message_context: Any) -> None:
        """Let a message come again."""

    @abstractmethod
    def shutdown(self) -> None:
        """Close the connection."""


@dataclass
class BaseProducer(ABC):
    """A producer that is written one message at a time.

    Attributes:
        queue_name, host, config: As of a `BaseConsumer`.
        callback_delivery: Penstock refuses True: a producer of it returns once the message is stored.
        on_success, on_fail: Not called by Penstock.
    """

    plain_data: ClassVar[bool] = True
    """Without a serializer `produce` gets what the model handler made, a dict, as in py-volley."""

    queue_name: str
    host: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    callback_delivery: bool = False
    on_success: Callable[[Any], None] | None = None
    on_fail: Callable[[Any], None] | None = None

    @abstractmethod
    def produce(self, queue_name: str, message: Any, message_context: Any, **kwargs: Any) -> bool:
        """Store one message. True: it is stored; False: it is sent again."""

    @abstractmethod
    def shutdown(self) -> None:
        """Close the connection."""
