"""As `volley.data_models`, beside what Penstock has there."""

from __future__ import annotations

from penstock.message import QueueMessage

__all__ = ["QueueMessage"]
