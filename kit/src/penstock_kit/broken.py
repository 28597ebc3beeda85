"""The error of a test whose connector breaks a promise."""

from __future__ import annotations


class Broken(AssertionError):
    """A connector breaks a promise. The text says which, and where its author should look."""


def must(kept: object, promise: str, look: str) -> None:
    """Fail a test whose connector breaks a promise.

    Args:
        kept: Whether the promise was kept.
        promise: The promise, and what happened instead.
        look: Where the author should look.

    Raises:
        Broken: `kept` is false.
    """
    if not kept:
        raise Broken(f"{promise}\n    look at: {look}")
