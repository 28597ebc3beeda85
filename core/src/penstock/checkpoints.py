"""For connectors to sources that keep no place for us: messages are settled in any order, and the place before which
all are settled is stored in a file, with what is settled behind it.

self._checkpoints = Checkpoints(name, options.state, log)

connect:     await self._checkpoints.own()           # then self._checkpoints.state says where to go on
consume:     if not await self._checkpoints.own(): return []
             self._checkpoints.add(messages, state)  # `state` holds once these, and all before them, are settled
             return self._checkpoints.take(max_messages)
on_success:  return await self._checkpoints.succeed(messages)
on_fail:     return self._checkpoints.requeue(messages, delay)
shutdown:    await self._checkpoints.close()

The file has one owner at a time, by a lock that the operating system takes back when the process dies. Others stand by.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from penstock.errors import FatalConnectorError, NotConnected
from penstock.message import QueueMessage
from penstock.offsets import Ledger, OffsetTracker
from penstock.redelivery import Redelivery


class SourceMessage(QueueMessage):
    """A message of such a source; `Checkpoints` sets its `ledger` and `offset`.

    Args:
        context: What `msg_ctx` shows to the function.
        body: The body.
        position: Where it stands in the source, as text.
        timestamp: When it was made, in seconds since the epoch.
        identity: What tells it from all others, also after a restart; None: nothing does.
        attempts: The number of this delivery.
    """

    __slots__ = ("_came", "identity", "ledger", "offset", "requeued")
    ledger: Ledger[str]
    offset: int
    requeued: bool

    def __init__(
        self,
        context: Any,
        body: bytes,
        position: str,
        timestamp: float | None = None,
        identity: str | None = None,
        attempts: int = 1,
    ) -> None:
        super().__init__(context, body, timestamp=timestamp, attempts=attempts, position=position)
        self.identity = identity
        self._came = (context, body, position, timestamp, identity)

    def redelivery(self) -> SourceMessage:
        """The next delivery: what the source sent, even if this object was changed."""
        again = SourceMessage(*self._came, self.attempts + 1)
        again.ledger, again.offset = self.ledger, self.offset
        return again


class Checkpoints:
    """What a consumer has of its source, and how far that is settled.

    Args:
        queue: The queue's name, for the log.
        path: The file that keeps the place; None: only this process knows it.
        log: The connector's logger.

    Attributes:
        state: The place that was stored last, as `add` got it; None if there is none.
    """

    def __init__(self, queue: str, path: str | None, log: logging.Logger) -> None:
        self.state: Any = None
        self._queue = queue
        self._path = path
        self._log = log
        self._lock: int | None = None  # the descriptor that holds the file's lock
        self._stands_by = False
        self._tracker = OffsetTracker[str]()
        self._ledger = self._tracker.assign(queue)
        self._tracker.start(queue, 0)
        self._redelivery = Redelivery[SourceMessage]()
        self._waiting: deque[SourceMessage] = deque()
        self._marks: deque[tuple[int, Any]] = deque()  # (the offset from which on it holds, the state)
        self._settled: dict[int, str] = {}  # offset → identity, of what is settled behind the stored place
        self._known: set[str] = set()  # identities of what an earlier owner had settled behind the place
        self._changed = False  # whether something was settled since the place was stored
        self._storing = asyncio.Lock()

    async def own(self) -> bool:
        """Become the owner of the file, unless another consumer is; always true without a file.

        Raises:
            FatalConnectorError: the file cannot be used.
        """
        if self._path is None or self._lock is not None:
            return True
        try:
            lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise FatalConnectorError(f"the file {self._path!r} cannot be locked: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.state, settled = _read(self._path)
            self._known = set(settled)
        except BlockingIOError:
            os.close(lock)
            if not self._stands_by:
                self._stands_by = True
                self._log.info("queue %s: stands by, because another consumer owns %s", self._queue, self._path)
            return False
        except BaseException:
            os.close(lock)
            raise
        self._lock, self._stands_by = lock, False
        return True

    @property
    def is_empty(self) -> bool:
        """Whether all that was added was taken. What was requeued does not count: it must not hold up the rest."""
        return not self._waiting

    @property
    def unsettled(self) -> int:
        """How many messages are not settled: those that wait, and those that were taken."""
        return self._tracker.open

    def add(self, messages: Sequence[SourceMessage], state: Any) -> None:
        """Keep messages to be taken.

        Args:
            messages: In the order of the source.
            state: What can be written as JSON, and holds once these messages and all before them are settled.
        """
        start = self._ledger.next or 0
        end = start + len(messages)
        if messages:
            for offset, message in enumerate(messages, start):
                message.ledger, message.offset = self._ledger, offset
            self._tracker.begin(self._queue, range(start, end))
            known = [message for message in messages if message.identity in self._known]
            self._waiting.extend(message for message in messages if message not in known)
            self._note_settled(known)
            self._ledger.done([message.offset for message in known])
        self._marks.append((end, state))

    def take(self, max_messages: int) -> list[SourceMessage]:
        """Messages to deliver: the requeued ones that are due, then those that wait."""
        taken = self._redelivery.take(max_messages)
        while self._waiting and len(taken) < max_messages:
            taken.append(self._waiting.popleft())
        return taken

    async def succeed(self, messages: Sequence[SourceMessage]) -> int:
        """Settle messages, and store the place; returns how many had been requeued before.

        Raises:
            NotConnected: the place could not be stored; the call may be repeated.
        """
        ours = [message for message in messages if not getattr(message, "requeued", False)]
        late = self._redelivery.succeed(messages)
        if self._ledger.live:
            self._note_settled(ours)
        await self.store()
        return late

    def _note_settled(self, messages: Sequence[SourceMessage]) -> None:
        found = {message.offset: message.identity for message in messages if message.identity is not None}
        self._settled.update(found)
        self._changed = self._changed or bool(found)

    def requeue(self, messages: Sequence[SourceMessage], delay: float | None = None) -> int:
        """Deliver messages again, after `delay` seconds; returns how many were settled before."""
        return self._redelivery.requeue(messages, delay or 0.0)

    async def store(self) -> None:
        """Store the newest place before which nothing is unsettled, and what is settled behind it.

        Raises:
            NotConnected: it could not be written.
        """
        async with self._storing:
            safe = self._ledger.safe() or 0
            reached = 0
            while reached < len(self._marks) and self._marks[reached][0] <= safe:
                reached += 1
            if not reached and not self._changed:
                return
            end, state = self._marks[reached - 1] if reached else (0, self.state)
            settled = {offset: identity for offset, identity in self._settled.items() if offset >= end}
            self._changed = False
            if self._path is not None and self._lock is not None:
                try:
                    await self._run(lambda: _write(str(self._path), state, list(settled.values())))
                except BaseException:
                    self._changed = True
                    raise
            self.state = state
            self._settled = {offset: each for offset, each in self._settled.items() if offset >= end}
            for _ in range(reached):
                self._marks.popleft()

    async def _run(self, write: Callable[[], None]) -> None:
        try:
            # A thread for this write alone: none is left behind, and the disk does not hold up the event loop.
            with ThreadPoolExecutor(1, "penstock-checkpoints") as thread:
                await asyncio.get_running_loop().run_in_executor(thread, write)
        except OSError as error:
            raise NotConnected(f"the file {self._path!r} cannot be written: {error.strerror}") from error

    async def close(self) -> None:
        """Store what is reached, and let another consumer own the file."""
        try:
            await self.store()
        except NotConnected as error:
            self._log.warning("queue %s: %s; what was settled since comes again", self._queue, error)
        finally:
            self._tracker.revoke(self._queue)  # what is settled from now on is late
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None


def _read(path: str) -> tuple[Any, list[str]]:
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        return content["place"], content["settled"]
    except FileNotFoundError:
        return None, []
    except OSError as error:
        raise FatalConnectorError(f"the file {path!r} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise FatalConnectorError(
            f"the file {path!r} is not one that this connector wrote; name another one, or remove it to begin anew"
        ) from error


def _write(path: str, state: Any, settled: list[str]) -> None:
    """Replace the file, so that a crash leaves the old or the new text."""
    temporary = f"{path}.new"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump({"place": state, "settled": settled}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
