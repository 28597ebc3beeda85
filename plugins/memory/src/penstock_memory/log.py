"""A queue and its rules: order, leases, fencing, delays. No I/O, no event loop; safe from any thread.

The order: messages are numbered as they are appended, and the visible message with the lowest number is delivered
first. A message that is given back, or whose lease ends, keeps its number. So it comes before every younger message
that has not been delivered yet, of its key or of any other; nothing can be done about those that were delivered
meanwhile. A delay is a permission to be overtaken: a message that is held back takes its place again when its time has
come.

The fence: each delivery has a token of its own, valid until the message is settled, given back, or its lease ends. A
token that is no longer valid changes nothing.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush, nsmallest
from itertools import islice

from penstock.message import BrowsedMessage, BrowseState, Headers, QueueMessage, Record

Wake = Callable[[], None]
"""Called once, from any thread, when it is worth looking again. It must not block and must not call the queue."""


class Entry:
    """One stored message.

    Attributes:
        number: Its place in the queue, from 1.
        size: Bytes of body, key and headers.
        attempts: Deliveries so far.
        until: When the lease of the current delivery ends, by the queue's clock.
        left_by: The holder that died, or whose lease ended, with the last delivery; None if that was given back.
        calls: Recorded by `Holder.record`, and not ended.
    """

    __slots__ = ("attempts", "body", "calls", "headers", "key", "left_by", "number", "size", "timestamp", "until")

    def __init__(self, number: int, body: bytes | None, key: bytes | None, headers: Headers, timestamp: float) -> None:
        self.number = number
        self.body = body
        self.key = key
        self.headers = headers
        self.size = len(body or b"") + len(key or b"")
        if headers:
            self.size += sum(len(name) + len(value or b"") for name, value in headers)
        self.timestamp = timestamp
        self.attempts = 0
        self.until = 0.0
        self.left_by: Holder | None = None
        self.calls = 0


class Queue:
    """A named queue. A call costs the messages that it moves, never a scan of the queue.

    Args:
        name: What errors call it.
        clock: Seconds that only grow; leases and delays are measured by it.
        wall: Seconds since the epoch, for timestamps.
    """

    def __init__(
        self, name: str, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self.name = name
        self._clock = clock
        self._wall = wall
        self._lock = threading.Lock()
        self._last_number = 0
        # Tokens begin anywhere: those of an earlier queue of this name, in a broker that has died, mean nothing here.
        self._last_token = random.getrandbits(62)
        self._fresh: deque[Entry] = deque()  # never held back nor delivered; almost every message knows only this one
        self._returned: list[tuple[int, Entry]] = []  # visible again, by number
        self._delayed: list[tuple[float, int, Entry]] = []  # by the time they become visible
        self._holders: set[Holder] = set()
        self._held = 0
        # No lease ends before this. Messages settled early leave it too low; the next look corrects it.
        self._next_expiry = math.inf
        self._wait_for_messages: set[Wake] = set()
        self._wait_for_room: set[Wake] = set()

    def append(self, records: Sequence[Record], max_length: int = 0, wake: Wake | None = None) -> int:
        """Store records in their order: all, or the first ones as far as there is room.

        Args:
            records: What to store; each body and key is bytes or None.
            max_length: How many unsettled messages the queue may have afterwards; 0 is any number.
            wake: Called once when there may be room, if not all were stored.

        Returns:
            How many were stored.
        """
        with self._lock:
            if max_length and (room := max_length - self._depth()) < len(records):
                records = records[: max(0, room)]
                if wake is not None:
                    self._wait_for_room.add(wake)
            self._store(records)
            woken = self._take(self._wait_for_messages) if records else ()
        for call in woken:
            call()
        return len(records)

    def hold(self, lease: float) -> Holder:
        """A new holder of deliveries, each for `lease` seconds."""
        with self._lock:
            holder = Holder(self, lease)
            self._holders.add(holder)
            return holder

    def lag(self) -> int:
        """Messages that nobody holds: visible, or held back by a delay."""
        with self._lock:
            self._turn(self._clock())
            return self._depth() - self._held

    def browse(self, limit: int, after: int = 0, max_bytes: float = math.inf) -> list[BrowsedMessage]:
        """Unsettled messages with a number above `after`, by number. It changes nothing, and scans the whole queue.

        Args:
            limit: How many at most.
            after: The number to start behind.
            max_bytes: Stop after the message with which bodies, keys and headers reach this sum.
        """
        with self._lock:
            now = self._clock()
            found: list[tuple[int, Entry, BrowseState]] = [
                *islice(((each.number, each, "waiting") for each in self._fresh if each.number > after), limit),
                *((number, each, "waiting") for number, each in self._returned if number > after),
                *((number, each, "delayed" if due > now else "waiting")
                  for due, number, each in self._delayed if number > after),
                *((each.number, each, "leased" if each.until > now else "waiting")
                  for holder in self._holders for each in holder._entries.values() if each.number > after),
            ]  # fmt: skip
            messages: list[BrowsedMessage] = []
            for number, entry, state in nsmallest(limit, found):
                if max_bytes <= 0:
                    break
                max_bytes -= entry.size
                messages.append(
                    BrowsedMessage(
                        entry.body,
                        str(number),
                        key=entry.key,
                        headers=entry.headers,
                        timestamp=entry.timestamp,
                        attempts=entry.attempts,
                        state=state,
                    )
                )
            return messages

    def depth(self) -> int:
        """Messages that are not settled, wherever they are."""
        with self._lock:
            return self._depth()

    def next_visible_in(self) -> float:
        """Seconds until a delay or a lease may end by itself; infinity if there is none."""
        with self._lock:
            due = min(self._next_expiry, self._delayed[0][0] if self._delayed else math.inf)
            return max(0.0, due - self._clock())

    def forget(self, wake: Wake) -> None:
        """Take back what was registered by `append` or `Holder.receive`."""
        with self._lock:
            self._wait_for_messages.discard(wake)
            self._wait_for_room.discard(wake)

    # From here on the caller has the lock.

    def _depth(self) -> int:
        return len(self._fresh) + len(self._returned) + len(self._delayed) + self._held

    def _store(self, records: Sequence[Record]) -> None:
        number, now, timestamp = self._last_number, self._clock(), self._wall()
        add = self._fresh.append
        for record in records:
            number += 1
            headers = record.headers
            if headers:
                # A copy: what the producer does to its list afterwards must not reach the message.
                headers = tuple((name, value) for name, value in headers)
            entry = Entry(number, record.message, record.key, headers, timestamp)
            if record.delay:
                heappush(self._delayed, (now + record.delay, number, entry))
            else:
                add(entry)
        self._last_number = number

    def _turn(self, now: float) -> None:
        """Make visible whose time has come."""
        delayed = self._delayed
        while delayed and delayed[0][0] <= now:
            _due, number, entry = heappop(delayed)
            heappush(self._returned, (number, entry))
        if self._next_expiry <= now:
            for holder in self._holders:
                self._put_back(holder._expired(now))
            self._next_expiry = min((holder._first_expiry() for holder in self._holders), default=math.inf)

    def _put_back(self, entries: Sequence[Entry]) -> None:
        self._held -= len(entries)
        for entry in entries:
            heappush(self._returned, (entry.number, entry))

    def _next(self, max_messages: int, max_bytes: float) -> list[Entry]:
        fresh, returned = self._fresh, self._returned
        entries: list[Entry] = []
        while max_messages > 0 and max_bytes > 0:
            if returned and (not fresh or returned[0][0] < fresh[0].number):
                entry = heappop(returned)[1]
            elif fresh:
                entry = fresh.popleft()
            else:
                break
            entries.append(entry)
            max_messages -= 1
            max_bytes -= entry.size
        return entries

    @staticmethod
    def _take(wakes: set[Wake]) -> Sequence[Wake]:
        # All of them, not one: a waiter that is just giving up would swallow the only call.
        if not wakes:
            return ()
        taken = list(wakes)
        wakes.clear()
        return taken


class Holder:
    """Whoever holds deliveries of a queue; made by `Queue.hold`. When it closes, they go back at once."""

    def __init__(self, queue: Queue, lease: float) -> None:
        self._queue = queue
        self.lease = lease
        # By token, and, as every lease has the same span, by the time it ends.
        self._entries: OrderedDict[int, Entry] = OrderedDict()
        self._closed = False

    def receive(self, max_messages: int, wake: Wake | None = None, max_bytes: float = math.inf) -> list[QueueMessage]:
        """Take visible messages, lowest number first, each with one attempt more and a new token.

        Args:
            max_messages: How many at most.
            wake: Called once when there may be some, if there are none.
            max_bytes: Stop after the message with which bodies, keys and headers reach this sum.

        Returns:
            Messages whose `message_context` is the token.
        """
        queue = self._queue
        with queue._lock:
            now = queue._clock()
            queue._turn(now)
            entries = [] if self._closed else queue._next(max_messages, max_bytes)
            if not entries and wake is not None:
                queue._wait_for_messages.add(wake)
            return self._deliver(entries, now + self.lease)

    def settle(self, tokens: Sequence[int]) -> int:
        """Remove messages for good.

        Returns:
            How many tokens were no longer valid.
        """
        queue = self._queue
        with queue._lock:
            settled = len(self._pop(tokens))
            queue._held -= settled
            woken = queue._take(queue._wait_for_room) if settled else ()
        for call in woken:
            call()
        return len(tokens) - settled

    def give_back(self, tokens: Sequence[int], delay: float = 0.0) -> int:
        """Make messages visible again, now or after `delay` seconds, each in its old place.

        Returns:
            How many tokens were no longer valid.
        """
        queue = self._queue
        with queue._lock:
            entries = self._pop(tokens)
            if delay > 0:
                due = queue._clock() + delay
                queue._held -= len(entries)
                for entry in entries:
                    heappush(queue._delayed, (due, entry.number, entry))
            else:
                queue._put_back(entries)
            woken = queue._take(queue._wait_for_messages) if entries else ()
        for call in woken:
            call()
        return len(tokens) - len(entries)

    def extend(self, tokens: Sequence[int]) -> int:
        """Let leases last another full span from now.

        Returns:
            How many tokens were no longer valid.
        """
        queue, entries = self._queue, self._entries
        late = 0
        with queue._lock:
            now = queue._clock()
            queue._turn(now)
            for token in tokens:
                if token in entries:
                    entries[token].until = now + self.lease
                    entries.move_to_end(token)
                else:
                    late += 1
        return late

    def record(self, tokens: Sequence[int], calls: Sequence[int]) -> None:
        """Keep with messages how many calls of them began and never ended."""
        entries = self._entries
        with self._queue._lock:
            for token, number in zip(tokens, calls, strict=True):
                if token in entries:
                    entries[token].calls = number

    def close(self, died: bool = False) -> None:
        """Give everything back; every token of this holder is invalid from now on. Idempotent.

        Args:
            died: It did not ask for this: its messages are suspects.
        """
        queue = self._queue
        with queue._lock:
            for entry in self._entries.values() if died else ():
                entry.left_by = self
            queue._put_back(list(self._entries.values()))
            self._entries.clear()
            queue._holders.discard(self)
            self._closed = True
            woken = queue._take(queue._wait_for_messages)
        for call in woken:
            call()

    # From here on the caller has the queue's lock.

    def _deliver(self, entries: Sequence[Entry], until: float) -> list[QueueMessage]:
        queue, held = self._queue, self._entries
        token = queue._last_token
        messages = []
        for entry in entries:
            token += 1
            entry.attempts += 1
            entry.until = until
            held[token] = entry
            abandoned = 0
            if entry.left_by is not None or entry.calls:
                # A lease of this very holder that ended is nobody's death.
                abandoned = 0 if entry.left_by is self else 1 + entry.calls
                entry.left_by = None
            messages.append(
                QueueMessage(
                    token,
                    entry.body,
                    entry.key,
                    entry.headers,
                    entry.timestamp,
                    entry.attempts,
                    str(entry.number),
                    abandoned,
                )
            )
        if entries:
            queue._last_token = token
            queue._held += len(entries)
            queue._next_expiry = min(queue._next_expiry, until)
        return messages

    def _pop(self, tokens: Sequence[int]) -> list[Entry]:
        # A lease that has ended is over, also if nobody has looked since: what is late does not depend on luck.
        self._queue._turn(self._queue._clock())
        pop = self._entries.pop
        return [entry for token in tokens if (entry := pop(token, None)) is not None]

    def _expired(self, now: float) -> list[Entry]:
        entries, expired = self._entries, []
        while entries and next(iter(entries.values())).until <= now:
            entry = entries.popitem(last=False)[1]
            entry.left_by = self
            expired.append(entry)
        return expired

    def _first_expiry(self) -> float:
        return next(iter(self._entries.values())).until if self._entries else math.inf
