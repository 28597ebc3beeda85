"""As `volley.connectors.rsmq`: names for a configuration, which stand for the connector `rsmq`."""

from __future__ import annotations

from typing import ClassVar

__all__ = ["RSMQConsumer", "RSMQProducer"]


class RSMQConsumer:
    """The consumer of the connector `rsmq`."""

    stands_for: ClassVar[str] = "rsmq"


class RSMQProducer:
    """The producer of the connector `rsmq`."""

    stands_for: ClassVar[str] = "rsmq"
