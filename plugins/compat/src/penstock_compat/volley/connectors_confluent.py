"""As `volley.connectors.confluent`: names for a configuration, which stand for the connector `kafka`."""

from __future__ import annotations

from typing import ClassVar

__all__ = ["ConfluentKafkaConsumer", "ConfluentKafkaProducer"]


class ConfluentKafkaConsumer:
    """The consumer of the connector `kafka`."""

    stands_for: ClassVar[str] = "kafka"


class ConfluentKafkaProducer:
    """The producer of the connector `kafka`."""

    stands_for: ClassVar[str] = "kafka"
