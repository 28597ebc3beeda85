"""A context of its own for each call of an async function, without a task of its own.

The coroutine is driven by hand, each step inside its context and within the executor's task. One that does not suspend
costs a copied context and one hop into it.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from contextvars import Context, copy_context
from typing import Any

from penstock.queues import forks

_ENDED = object()


def begin(coroutine: Coroutine[Any, Any, None]) -> Suspended | None:
    """Run a coroutine without a result until it suspends, in a copy of the current context.

    Returns:
        The rest of it, to be awaited at once; None if it has ended.
    """
    context, steps, generation = copy_context(), coroutine.__await__(), forks.generation
    # With a default `next` raises no StopIteration, which would cost more than all else here.
    waits_for = context.run(next, steps, _ENDED)
    return None if waits_for is _ENDED else Suspended(context, steps, waits_for, generation)


class Suspended:
    """The rest of a coroutine that has suspended."""

    __slots__ = ("_context", "_generation", "_steps", "_waits_for")

    def __init__(self, context: Context, steps: Generator[Any, Any, None], waits_for: Any, generation: int) -> None:
        self._context = context
        self._steps = steps
        self._waits_for = waits_for
        self._generation = generation

    def __await__(self) -> Generator[Any, Any, None]:
        run, steps, waits_for = self._context.run, self._steps, self._waits_for
        while waits_for is not _ENDED:
            if forks.generation != self._generation:
                forks.end()  # a child that the function forked: the loop behind this is its parent's
            try:
                yield waits_for
            except GeneratorExit:
                run(steps.close)
                raise
            except BaseException as error:  # noqa: BLE001  (it is thrown on)
                thrown = error
            else:
                # A task sends nothing but None, for which `next` stands.
                waits_for = run(next, steps, _ENDED)
                continue
            try:
                waits_for = run(steps.throw, thrown)
            except StopIteration:
                return
            finally:
                del thrown  # its traceback holds this frame
