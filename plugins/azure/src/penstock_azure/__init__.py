"""Penstock's connectors for Azure: Service Bus and Storage Queues."""

__version__ = "0.1.0"
