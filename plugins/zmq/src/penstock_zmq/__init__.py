"""Penstock's connectors for ZeroMQ sockets."""

__version__ = "0.1.0"
