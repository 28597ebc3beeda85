"""The partitions that are assigned to us: their ledgers, their ends, and which of them are paused."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from itertools import groupby, repeat
from typing import TYPE_CHECKING

from confluent_kafka import Message, TopicPartition

from penstock.offsets import Ledger, OffsetTracker
from penstock_kafka.commit_metadata import CommitMetadata
from penstock_kafka.message import KafkaMessages, Partition, Run
from penstock_kafka.stall_detector import StallDetector
from penstock_kafka.watermarks import Watermarks

if TYPE_CHECKING:
    from confluent_kafka import Consumer as Client

log = logging.getLogger("penstock.kafka")

READ_AGAIN = 1.0  # seconds between two attempts to read what previous owners have settled, and of each attempt
GO_ON_AT = 0.5  # of max_uncommitted: a partition resumes when this much is left; each pause costs fetches

_offset, _partition, _topic = Message.offset, Message.partition, Message.topic


class Assignment:
    """The partitions of a consumer in a group. Its methods run on the polling thread, except `lag`.

    Args:
        client: The consumer.
        tracker: Has a ledger for each partition.
        max_uncommitted: How far deliveries of a partition may run ahead of what can be committed.
        cooperative: Whether assignments are reported as differences.
        topic: The only topic there is; None if there may be several.
        metadata: Knows what previous owners have settled, and which partitions' commits are nearly full.

    Attributes:
        tracker: As given.
        known: Whether the group has assigned partitions to us, or told us that there are none.
        begun: Whether reading has started in a partition. Until that is committed, a new group could begin elsewhere
            the next time. Reset by the code that commits it.
    """

    def __init__(
        self,
        client: Client,
        tracker: OffsetTracker[Partition],
        max_uncommitted: int,
        cooperative: bool,
        topic: str | None,
        metadata: CommitMetadata | None = None,
    ) -> None:
        self.tracker = tracker
        self.known = self.begun = False
        self._client = client
        self._metadata = metadata or CommitMetadata("Kafka")
        self._max_uncommitted = max_uncommitted
        self._cooperative = cooperative
        self._only_topic = topic
        self._paused = False
        self._held_back: set[Partition] = set()
        self._unread: set[Partition] = set()  # held back until it is known what previous owners have settled
        self._read_at = 0.0
        self._watermarks = Watermarks(client)
        self._stall_detector = StallDetector()

    # -- messages

    def take(self, messages: Sequence[Message]) -> KafkaMessages:
        """Register messages as delivered. Those of a partition that we no longer own are dropped."""
        return KafkaMessages(self._take(messages))

    def _take(self, messages: Sequence[Message]) -> list[Run]:
        # Only an error has no topic, partition or offset, which the client's types do not say.
        partitions: list[int] = list(map(_partition, messages))  # type: ignore[arg-type]
        topic = self._only_topic
        if topic is not None and partitions.count(partitions[0]) == len(messages):
            return self._take_run((topic, partitions[0]), messages)
        topics: Iterable[str] = repeat(topic) if topic is not None else map(_topic, messages)  # type: ignore[arg-type]
        taken: list[Run] = []
        start = 0
        for key, run in groupby(zip(topics, partitions, strict=False)):
            end = start + len(list(run))
            taken += self._take_run(key, messages[start:end])
            start = end
        return taken

    def _take_run(self, key: Partition, messages: Sequence[Message]) -> list[Run]:
        ledger = self.tracker.ledger(key)
        if ledger is None:
            return []
        offsets: list[int] = list(map(_offset, messages))  # type: ignore[arg-type]
        if offsets[-1] - offsets[0] < len(offsets) - 1:
            # The log was truncated in the middle of this run, and is read again from further back.
            turn = next(index for index in range(1, len(offsets)) if offsets[index] <= offsets[index - 1])
            return self._take_run(key, messages[:turn]) + self._take_run(key, messages[turn:])
        epoch = messages[-1].leader_epoch()  # the highest, because it never falls along a log
        if ledger.inherits:
            if messages[0].leader_epoch() != epoch:
                turn = next(index for index, each in enumerate(messages) if each.leader_epoch() == epoch)
                return self._take_run(key, messages[:turn]) + self._take_run(key, messages[turn:])
            fresh = ledger.unsettled(offsets, epoch)
            if len(fresh) < len(offsets):
                return self._take_rest(key, ledger, messages, offsets, fresh)
        return self._take_new(key, ledger, messages, offsets, epoch)

    def _take_rest(
        self,
        key: Partition,
        ledger: Ledger[Partition],
        messages: Sequence[Message],
        offsets: Sequence[int],
        fresh: Sequence[int],
    ) -> list[Run]:
        """Skip what a previous owner has settled."""
        taken: list[Run] = []
        end = offsets[-1] + 1
        if fresh:
            rest = [messages[index] for index in fresh]
            taken = self._take_new(key, ledger, rest, [offsets[index] for index in fresh], rest[-1].leader_epoch())
        ledger.read_up_to(end)
        self._watermarks.reached(key, end)
        return taken

    def _take_new(
        self,
        key: Partition,
        ledger: Ledger[Partition],
        messages: Sequence[Message],
        offsets: Sequence[int],
        epoch: int | None,
    ) -> list[Run]:
        if ledger.next is None or offsets[0] < ledger.next:
            self.begun = True
            self._watermarks.forget(key)
        self._watermarks.reached(key, offsets[-1] + 1)
        ledger = self.tracker.begin(key, offsets, epoch)
        if ledger.span() > self._max_uncommitted:
            self._hold_back(key, f"more than {self._max_uncommitted} offsets wait")
        return [Run(messages, ledger, offsets)]

    def at_end(self, key: Partition, offset: int) -> None:
        """Register that a partition was read to its end."""
        ledger = self.tracker.ledger(key)
        if ledger is not None:
            self.begun = self.begun or ledger.next is None
            self.tracker.start(key, offset)
            self._watermarks.read_to_end(key, offset)

    # -- rebalances

    def assigned(self, partitions: list[TopicPartition]) -> None:
        """Own these partitions, each with a new ledger."""
        self.known = True
        new = {key: self.tracker.assign(key) for key in keys_of(partitions)}
        for key in new:
            self._forget(key)
        unread = self._metadata.read(self._client, new)
        self._read_at = time.monotonic()
        (self._client.incremental_assign if self._cooperative else self._client.assign)(partitions)
        if partitions:
            # The client keeps a pause across a rebalance: without this, a partition that was lost while it was paused
            # would never deliver again.
            (self._client.pause if self._paused else self._client.resume)(partitions)
        if unread:
            self._unread |= unread
            self._held_back |= unread
            self._client.pause([TopicPartition(*key) for key in unread])

    def ended(self, keys: Iterable[Partition], lost: bool) -> None:
        """Forget partitions: later settlements of their messages are late.

        Args:
            keys: The partitions.
            lost: Taken away without a revocation, so a new assignment is still to come.
        """
        # Otherwise the time between two assignments would look like an empty queue.
        self.known = self._cooperative and not lost
        for key in keys:
            self.tracker.revoke(key)
            self._forget(key)

    def _forget(self, key: Partition) -> None:
        self._watermarks.forget(key)
        self._held_back.discard(key)
        self._unread.discard(key)
        self._metadata.full.discard(key)

    def _read_again(self) -> None:
        """Try again to read what previous owners have settled, where that failed."""
        if time.monotonic() - self._read_at < READ_AGAIN:
            return
        ledgers = {key: ledger for key in self._unread if (ledger := self.tracker.ledger(key)) is not None}
        self._unread = self._metadata.read(self._client, ledgers, READ_AGAIN)
        self._read_at = time.monotonic()

    # -- pauses

    def pause(self) -> None:
        """Fetch nothing: there is no room, but the client must still be polled."""
        if not self._paused:
            self._paused = True
            self._client.pause(self._all())

    def resume(self) -> None:
        """Undo `pause`."""
        if self._paused:
            self._paused = False
            self._client.resume([each for each in self._all() if (each.topic, each.partition) not in self._held_back])

    def _let_go(self) -> None:
        """Resume partitions that were held back, once enough of their messages are settled."""
        for key in list(self._held_back):
            ledger = self.tracker.ledger(key)
            if key in self._unread or ledger is None or ledger.span() > self._max_uncommitted * GO_ON_AT:
                continue
            if ledger.inherits or key not in self._metadata.full:
                self._held_back.discard(key)
                if not self._paused:
                    self._client.resume([TopicPartition(*key)])

    def _hold_back(self, key: Partition, why: str) -> None:
        if key in self._held_back:
            return
        self._held_back.add(key)
        self._client.pause([TopicPartition(*key)])
        ledger = self.tracker.ledger(key)
        waits_for = ledger.safe() if ledger is not None else None
        log.warning("%s/%d is paused: %s until the message at %s is settled", *key, why, waits_for,
                    extra={"position": f"{key[0]}/{key[1]}/{waits_for}"})  # fmt: skip

    def _all(self) -> list[TopicPartition]:
        return [TopicPartition(*key) for key in self._keys()]

    # -- lag

    def lag(self) -> int | None:
        """Messages that were not delivered yet; None while that is unknown. For any thread."""
        return self._watermarks.lag(self.tracker.ledgers()) if self.known else None

    def refresh(self) -> None:
        """Update what is known from the last fetches. Called when there is no message."""
        fetched = self._fetched()
        self._watermarks.refresh(fetched)
        self._stall_detector.refresh(lambda: self._watermarks.unread(filter(None, map(self.tracker.ledger, fetched))))

    def maintain(self) -> None:
        """Hold back and resume partitions, and update their ends, if it is time."""
        if self._unread:
            self._read_again()
        for key in self._metadata.full - self._held_back:
            ledger = self.tracker.ledger(key)
            # While settled messages are still being skipped, the text may be long because of messages not read yet.
            if ledger is not None and not ledger.inherits:
                self._hold_back(key, "what is settled out of order hardly fits into a commit, and waits")
        self._let_go()
        self._watermarks.maintain(self._fetched, self._not_fetched)

    def _fetched(self) -> list[Partition]:
        return [] if self._paused else [key for key in self._keys() if key not in self._held_back]

    def _not_fetched(self) -> list[Partition]:
        return self._keys() if self._paused else list(self._held_back)

    def _keys(self) -> list[Partition]:
        return [ledger.partition for ledger in self.tracker.ledgers()]


def keys_of(partitions: Iterable[TopicPartition]) -> list[Partition]:
    """Topic and number of each."""
    return [(each.topic, each.partition) for each in partitions]
