"""What a test says when a connector does not keep a promise."""

from __future__ import annotations


class Broken(AssertionError):
    """A connector does not keep a promise. The text says which, and what its author should look at."""


def must(kept: object, promise: str, look: str) -> None:
    """Refuse a connector that broke a promise.

    Args:
        kept: Whether it kept it.
        promise: What was promised, and what was seen instead.
        look: Where its author should look.

    Raises:
        Broken: it did not.
    """
    if not kept:
        raise Broken(f"{promise}\n    look at: {look}")
