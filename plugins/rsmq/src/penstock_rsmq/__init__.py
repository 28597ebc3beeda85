"""Penstock's connector for RSMQ, a message queue on Redis."""

__version__ = "0.1.0"
