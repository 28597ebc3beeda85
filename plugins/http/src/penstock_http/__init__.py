"""Penstock's connectors for HTTP: `http.poll` reads a feed, `http.webhook` sends requests."""

__version__ = "0.1.0"
