"""A queue and its rules: order, leases, fencing, delays. No I/O, no event loop; safe from any thread.

The order: messages are numbered as they are appended, and the visible message with the lowest number is delivered
first. A message that is requeued, or whose lease ends, keeps its number. So it comes before every younger message that
has not been delivered yet, whatever the key. A message with a delay may be overtaken; when the delay is over, it takes
its place again.

The fence: each delivery has a token of its own, valid until the message is settled or requeued, or its lease ends. A
token that is no longer valid changes nothing.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from heapq import heapify, heappop, heappush, nsmallest
from itertools import islice, takewhile

from penstock.message import BrowsedMessage, BrowseState, QueueMessage, Record
from penstock_memory.message import Delivery, Entry

Wake = Callable[[], None]
"""Called once, from any thread, when it is worth looking again. It must not block and must not call the queue."""


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
        # Tokens begin anywhere: those of an earlier queue of this name, which was reset, mean nothing here.
        self._last_token = random.getrandbits(62)
        self._fresh: deque[Entry] = deque()  # neither delayed nor delivered yet: where most messages are
        self._returned: list[tuple[int, Entry]] = []  # visible again, by number
        self._delayed: list[tuple[float, int, Entry]] = []  # by the time they become visible
        self._lessees: set[Lessee] = set()
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

    def new_lessee(self, lease: float) -> Lessee:
        """A new lessee of deliveries, each for `lease` seconds."""
        with self._lock:
            lessee = Lessee(self, lease)
            self._lessees.add(lessee)
            return lessee

    def lag(self) -> int:
        """Messages that no lessee has: visible, or delayed."""
        with self._lock:
            self._refresh(self._clock())
            return self._depth() - self._held

    def browse(self, limit: int, after: int = 0) -> list[BrowsedMessage]:
        """Unsettled messages with a number above `after`, by number. It changes nothing, and scans the whole queue.

        Args:
            limit: How many at most.
            after: The number to start behind.
        """
        with self._lock:
            now = self._clock()
            found: list[tuple[int, Entry, BrowseState]] = [
                *islice(((each.number, each, "waiting") for each in self._fresh if each.number > after), limit),
                *((number, each, "waiting") for number, each in self._returned if number > after),
                *((number, each, "delayed" if due > now else "waiting")
                  for due, number, each in self._delayed if number > after),
                *((each.number, each, "leased" if each.until > now else "waiting")
                  for lessee in self._lessees for each in lessee._entries.values() if each.number > after),
            ]  # fmt: skip
            return [
                BrowsedMessage(
                    entry.body,
                    str(number),
                    key=entry.key,
                    headers=entry.headers,
                    timestamp=entry.timestamp,
                    attempts=entry.attempts,
                    state=state,
                )
                for number, entry, state in nsmallest(limit, found)
            ]

    def depth(self) -> int:
        """Messages that are not settled."""
        with self._lock:
            return self._depth()

    def next_visible_in(self) -> float:
        """Seconds until a delay or a lease may end; infinity if there is none."""
        with self._lock:
            due = min(self._next_expiry, self._delayed[0][0] if self._delayed else math.inf)
            return max(0.0, due - self._clock())

    def forget(self, wake: Wake) -> None:
        """Take back what was registered by `append` or `Lessee.receive`."""
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

    def _refresh(self, now: float) -> None:
        """Make visible the messages whose delay or lease has ended."""
        delayed = self._delayed
        while delayed and delayed[0][0] <= now:
            _due, number, entry = heappop(delayed)
            heappush(self._returned, (number, entry))
        if self._next_expiry <= now:
            for lessee in self._lessees:
                self._put_back(lessee._expired(now))
            self._next_expiry = min((lessee._first_expiry() for lessee in self._lessees), default=math.inf)

    def _put_back(self, entries: Sequence[Entry]) -> None:
        self._held -= len(entries)
        for entry in entries:
            heappush(self._returned, (entry.number, entry))

    def _next(self, max_messages: int) -> list[Entry]:
        fresh, returned = self._fresh, self._returned
        entries: list[Entry] = []
        while max_messages > 0:
            if returned and (not fresh or returned[0][0] < fresh[0].number):
                entry = heappop(returned)[1]
            elif fresh:
                entry = fresh.popleft()
            else:
                break
            entries.append(entry)
            max_messages -= 1
        return entries

    def _pick(self, numbers: Collection[int]) -> list[Entry]:
        picked = [entry for entry in self._fresh if entry.number in numbers]
        picked += [entry for number, entry in self._returned if number in numbers]
        self._fresh = deque(entry for entry in self._fresh if entry.number not in numbers)
        self._returned = [pair for pair in self._returned if pair[0] not in numbers]
        heapify(self._returned)
        return sorted(picked, key=lambda entry: entry.number)

    @staticmethod
    def _take(wakes: set[Wake]) -> Sequence[Wake]:
        # Wake all of them: a waiter that is just giving up would swallow the only call.
        if not wakes:
            return ()
        taken = list(wakes)
        wakes.clear()
        return taken


class Lessee:
    """A holder of deliveries of a queue; made by `Queue.hold`. When it closes, they go back at once."""

    def __init__(self, queue: Queue, lease: float) -> None:
        self._queue = queue
        self.lease = lease
        # By token, and, as every lease has the same span, by the time it ends.
        self._entries: dict[int, Entry] = {}
        self._closed = False

    def receive(self, max_messages: int, wake: Wake | None = None) -> list[QueueMessage]:
        """Take visible messages, lowest number first, each with one attempt more and a new token.

        Args:
            max_messages: How many at most.
            wake: Called once when there may be some, if there are none.

        Returns:
            Messages whose `message_context` is the token.
        """
        queue = self._queue
        with queue._lock:
            now = queue._clock()
            queue._refresh(now)
            entries = [] if self._closed else queue._next(max_messages)
            if not entries and wake is not None:
                queue._wait_for_messages.add(wake)
            return self._deliver(entries, now + self.lease)

    def claim(self, numbers: Collection[int]) -> list[QueueMessage]:
        """Take those of the messages with these numbers that are visible; scans the queue. See `receive`."""
        queue = self._queue
        with queue._lock:
            now = queue._clock()
            queue._refresh(now)
            entries = [] if self._closed else queue._pick(numbers)
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

    def requeue(self, tokens: Sequence[int], delay: float = 0.0) -> int:
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
            queue._refresh(now)
            for token in tokens:
                entry = entries.pop(token, None)
                if entry is None:
                    late += 1
                else:
                    entry.until = now + self.lease
                    entries[token] = entry
        return late

    def record_calls(self, tokens: Sequence[int], calls: Sequence[int]) -> None:
        """Record how many calls of each message began and did not end."""
        entries = self._entries
        with self._queue._lock:
            for token, number in zip(tokens, calls, strict=True):
                if token in entries:
                    entries[token].calls = number

    def close(self) -> None:
        """Requeue everything; from now on every token of this lessee is invalid. Idempotent."""
        queue = self._queue
        with queue._lock:
            queue._put_back(list(self._entries.values()))
            self._entries.clear()
            queue._lessees.discard(self)
            self._closed = True
            woken = queue._take(queue._wait_for_messages)
        for call in woken:
            call()

    # From here on the caller has the queue's lock.

    def _deliver(self, entries: Sequence[Entry], until: float) -> list[QueueMessage]:
        queue, held = self._queue, self._entries
        token = queue._last_token
        messages: list[QueueMessage] = []
        for entry in entries:
            token += 1
            entry.attempts += 1
            entry.until = until
            held[token] = entry
            abandoned = 0
            if entry.left_by is not None or entry.calls:
                # This lessee lives, so its own lease that ended does not tell of a death.
                abandoned = 0 if entry.left_by is self else 1 + entry.calls
                entry.left_by = None
            messages.append(Delivery(token, entry, abandoned))
        if entries:
            queue._last_token = token
            queue._held += len(entries)
            queue._next_expiry = min(queue._next_expiry, until)
        return messages

    def _pop(self, tokens: Sequence[int]) -> list[Entry]:
        # A lease that has ended is over, even if no call has noticed it yet.
        self._queue._refresh(self._queue._clock())
        pop = self._entries.pop
        return [entry for token in tokens if (entry := pop(token, None)) is not None]

    def _expired(self, now: float) -> list[Entry]:
        entries = self._entries
        ended = list(takewhile(lambda token: entries[token].until <= now, entries))
        expired = [entries.pop(token) for token in ended]
        for entry in expired:
            entry.left_by = self
        return expired

    def _first_expiry(self) -> float:
        return next(iter(self._entries.values())).until if self._entries else math.inf
