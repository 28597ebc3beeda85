"""As `volley.connectors.zmq`: names for a configuration, which stand for the connector `zmq.reply`."""

from __future__ import annotations

from typing import ClassVar

__all__ = ["ZMQConsumer", "ZMQProducer"]


class ZMQConsumer:
    """The consumer of the connector `zmq.reply`."""

    stands_for: ClassVar[str] = "zmq.reply"


class ZMQProducer:
    """The producer of the connector `zmq.reply`."""

    stands_for: ClassVar[str] = "zmq.reply"
