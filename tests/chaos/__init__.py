"""Chaos: real workers between real servers, faults on purpose, and a ledger that counts by itself: `nox -s chaos`."""
