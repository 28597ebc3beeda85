"""Queues on NATS JetStream for Penstock."""

__version__ = "0.1.0"
