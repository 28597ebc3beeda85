"""Penstock's connector for Google Cloud Pub/Sub."""

__version__ = "0.1.0"
