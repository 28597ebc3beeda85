"""Queues of Azure Storage: small messages over HTTP, leased for a time, with no order."""
