"""Tells exceptions for the process, for a test or for the own task from failures of the code that was called."""

from __future__ import annotations

import asyncio

Kinds = tuple[type[BaseException], ...]

EXIT_EXCEPTIONS = (KeyboardInterrupt, SystemExit)
"""The exceptions that concern the process. Every other one is a failure of the code that raised it."""


def raise_if_exit(error: BaseException) -> None:
    """Raise an exception that concerns the process, also one that a group holds; let any other error be."""
    if (found := _first(error, EXIT_EXCEPTIONS)) is not None:
        raise found


def raise_if_not_exception(error: BaseException) -> None:
    """Raise what is not an `Exception`, also one that a group holds, as the verdict of a test that a function contains.

    This function ignores a cancellation and a `GeneratorExit`, as it ignores any `Exception`.
    """
    if (found := _first(error, BaseException, but=(Exception, asyncio.CancelledError, GeneratorExit))) is not None:
        raise found


def raise_if_ours(error: BaseException) -> None:
    """Raise again what is not a failure of the code that was called from this task; let any other error be.

    That is a `CancelledError` meant for this task, the `GeneratorExit` of a coroutine that is not awaited any more, and
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


def _first(error: BaseException, kinds: type[BaseException] | Kinds, *, but: Kinds = ()) -> BaseException | None:
    """An exception of one of these kinds, or the first such one in a group of them."""
    if isinstance(error, BaseExceptionGroup):
        return next((found for each in error.exceptions if (found := _first(each, kinds, but=but)) is not None), None)
    return error if isinstance(error, kinds) and not isinstance(error, but) else None
