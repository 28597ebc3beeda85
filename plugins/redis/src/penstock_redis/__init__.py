"""Penstock's connectors for Redis: streams, lists and Pub/Sub."""

__version__ = "0.1.0"
