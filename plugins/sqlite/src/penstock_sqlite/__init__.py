"""Durable queues in an SQLite file, shared by the processes of one machine."""

from __future__ import annotations

__version__ = "0.1.0"
