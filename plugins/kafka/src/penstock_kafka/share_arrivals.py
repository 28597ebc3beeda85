"""What the members of a share group have taken, on its way to `consume`."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock_kafka.share_member import Member, ShareMessage


class Arrivals:
    """Filled by the threads of the members, and by a settlement that delivers again; emptied by `consume`.

    Members poll only while `consume` waits, because what they take is locked for them.
    """

    def __init__(self) -> None:
        lock = threading.RLock()
        self._arrived = threading.Condition(lock)  # `consume` waits for it
        self._turned = threading.Condition(lock)  # members wait for it
        self._messages: deque[ShareMessage] = deque()
        self._error: Exception | None = None
        self._wanted = False

    @contextmanager
    def wanted(self) -> Iterator[None]:
        """Let members poll during this block."""
        with self._turned:
            self._wanted = True
            self._turned.notify_all()
        try:
            yield
        finally:
            self._wanted = False

    def wait_for_turn(self, member: Member) -> bool:
        """Wait until a member has to be polled; False when it is closed."""
        with self._turned:
            while not member.closed and (member.held or not self._wanted):
                self._turned.wait()
        return not member.closed

    def turn(self) -> None:
        """Say that a member holds nothing any more, or is closed."""
        with self._turned:
            self._turned.notify_all()

    def add(self, messages: Sequence[ShareMessage]) -> None:
        """Give messages to `consume`."""
        with self._arrived:
            self._messages += messages
            self._arrived.notify()

    def fail(self, error: Exception) -> None:
        """Let `consume` raise an error; until it is called again, no member polls."""
        with self._arrived:
            self._error = error
            self._wanted = False
            self._arrived.notify()

    def wait(self, seconds: float, most: int) -> None:
        """Wait until `take` has something to return or to raise; without room, messages are nothing to return."""
        with self._arrived:
            if not (self._messages and most) and self._error is None:
                self._arrived.wait(seconds)

    def take(self, most: int) -> list[ShareMessage]:
        """The first messages; raises what `fail` was told."""
        with self._arrived:
            error, self._error = self._error, None
            if error is not None:
                raise error
            take = self._messages.popleft
            return [take() for _ in range(min(most, len(self._messages)))]

    def have_any(self, messages: Collection[ShareMessage]) -> bool:
        """Whether any of these messages waits to be taken."""
        with self._arrived:
            return not set(messages).isdisjoint(self._messages)

    def drop(self, ended: Collection[ShareMessage]) -> int:
        """Forget messages whose locks have ended; returns how many of them were here."""
        with self._arrived:
            before = len(self._messages)
            self._messages = deque(message for message in self._messages if message not in ended)
            return before - len(self._messages)

    def clear(self) -> None:
        """Forget all."""
        with self._arrived:
            self._messages.clear()
            self._error = None
