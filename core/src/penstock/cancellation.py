"""Whose exception is it: the process's, ours, or a failure of the code that was called, whatever it derives from."""

from __future__ import annotations

import asyncio

EXIT_EXCEPTIONS = (KeyboardInterrupt, SystemExit)
"""The exceptions that concern the process. Every other one is a failure of the code that raised it."""


def raise_if_exit(error: BaseException) -> None:
    """Raise an exception that concerns the process, also one that a group holds; let any other error be."""
    if (found := _exit_exception(error)) is not None:
        raise found


def raise_if_ours(error: BaseException) -> None:
    """Raise again what is not a failure of the code that was called from this task; let any other error be.

    That is a `CancelledError` meant for this task, the `GeneratorExit` of a coroutine that nobody awaits any more, and
    `KeyboardInterrupt`.
    """
    if isinstance(error, KeyboardInterrupt):
        raise error
    if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
        task = running_task()
        if task is None or (isinstance(error, asyncio.CancelledError) and task.cancelling()):
            raise error


def running_task() -> asyncio.Task[object] | None:
    """The task that runs now; None also where no event loop runs, as when a coroutine is closed after its loop."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def _exit_exception(error: BaseException) -> BaseException | None:
    if isinstance(error, EXIT_EXCEPTIONS):
        return error
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            if (found := _exit_exception(each)) is not None:
                return found
    return None
