"""Whose cancellation is it: ours, which goes through, or one out of the code that was called, which is its failure."""

from __future__ import annotations

import asyncio


def raise_if_cancelled(error: BaseException) -> None:
    """Raise a `CancelledError` again that is meant for the task in which this is called; let any other error be."""
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error
