"""Calls of a blocking consumer's `on_success` that wait for its thread, made as one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from penstock.message import QueueMessage
from penstock.queues.threads import DaemonThreadPool

OnSuccess = Callable[[Sequence[QueueMessage]], int | None]


class JoinedSuccesses:
    """Where its turn comes, a call takes with it those that wait behind it, up to the next call of another kind.

    Args:
        thread: Makes all calls that settle, one at a time.
        on_success: The consumer's.
    """

    def __init__(self, thread: DaemonThreadPool, on_success: OnSuccess) -> None:
        self._thread = thread
        self._on_success = on_success
        self._group: deque[_Call] = deque()

    def submit(self, messages: Sequence[QueueMessage]) -> asyncio.Future[int | None]:
        """Queue a call from the event loop's thread."""
        call = _Call(messages, self._group)
        self._group.append(call)
        return self._thread.submit(self._answer, call)

    def end_group(self) -> None:
        """A call of another kind comes next: what is submitted from now on is not made before it."""
        self._group = deque()

    def _answer(self, call: _Call) -> int | None:
        if not call.over:
            calls = []
            while call.group:
                calls.append(call.group.popleft())
            self._make(calls)
        if call.error is not None:
            raise call.error
        return call.late

    def _make(self, calls: Sequence[_Call]) -> None:
        late, error = None, None
        try:
            late = self._on_success([message for call in calls for message in call.messages])
        except BaseException as raised:  # noqa: BLE001  (every caller gets it)
            error = raised
        for call in calls:
            call.over, call.late, call.error = True, late, error
            if late and call is not calls[-1]:
                # How many were late is known, and not which.
                call.late = min(late, len(call.messages))
                late -= call.late


class _Call:
    """One call that waits.

    Attributes:
        messages: What it settles.
        group: Those that it may be made with; it is the first of them, or was made already.
        over: Whether it was made.
        late: What it returned.
        error: What it raised.
    """

    __slots__ = ("error", "group", "late", "messages", "over")

    def __init__(self, messages: Sequence[QueueMessage], group: deque[_Call]) -> None:
        self.messages = messages
        self.group = group
        self.over = False
        self.late: int | None = None
        self.error: BaseException | None = None
