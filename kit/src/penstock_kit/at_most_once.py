"""Backends that keep nothing: what the kit does earlier for them, and what it does not ask of them."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from penstock_kit.broken import Broken
from penstock_kit.watched import WatchedConsumer, shut_down

if TYPE_CHECKING:
    from penstock_kit.kit import Kit

WHY = "at most once: what no consumer waits for, and what a consumer has when it ends, is lost"

PROBE = "test_messages_wait_for_a_consumer_that_comes_later"
"""The test that must not pass on a backend that keeps nothing."""

Test = Callable[[Any, "Kit"], None]


def at_least_once(test: Test) -> Test:
    """Mark a test of what must outlive a consumer or the time without one. It is skipped where nothing does."""

    @functools.wraps(test)
    def run(self: Any, kit: Kit) -> None:
        if not kit.backend.at_most_once:
            test(self, kit)
            return
        if test.__name__ == PROBE:
            _probe(test, self, kit)
        kit.not_promised(WHY)

    run.at_least_once = True  # type: ignore[attr-defined]  # read by the manual
    return run


def _probe(test: Test, suite: Any, kit: Kit) -> None:
    probing = kit.for_probing()
    probing.listens = False
    try:
        test(suite, probing)
    except Exception:  # noqa: BLE001  (any failure means that nothing is kept, as the fixture says)
        return
    raise Broken(
        f"the backend fixture says that nothing is stored, yet this test passes: {(test.__doc__ or '').strip()}\n"
        f"    look at: `at_most_once` of {type(kit.backend).__name__}; without it, all promises are tested"
    )


class Listeners:
    """Consumers that are open before anything is sent: a test sends, and then opens one of them.

    Args:
        make: Makes the consumer of a queue.
    """

    def __init__(self, make: Callable[[str], WatchedConsumer]) -> None:
        self._make = make
        self._waiting: dict[str, WatchedConsumer] = {}
        self._read: Counter[str] = Counter()

    async def listen(self, queue: str) -> None:
        """Open a consumer of a queue, unless there is one."""
        if not self._read[queue] and queue not in self._waiting:
            self._waiting[queue] = self._make(queue)
            await self._waiting[queue].connect()

    def take(self, queue: str) -> WatchedConsumer | None:
        """The consumer that is open already; None if there is none. Another one reads the queue from now on."""
        self._read[queue] += 1
        return self._waiting.pop(queue, None)

    def leave(self, queue: str) -> None:
        """Note that a consumer of a queue is gone."""
        self._read[queue] -= 1

    async def close(self) -> None:
        """Shut down what no test has taken."""
        await shut_down(list(self._waiting.values()))
        self._waiting.clear()
