"""The partitions that are ours: their ledgers, where they end, which of them are paused."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from confluent_kafka import OFFSET_INVALID, KafkaException, Message, TopicPartition

from penstock.offsets import OffsetTracker
from penstock_kafka.message import KafkaMessage, Partition

if TYPE_CHECKING:
    from confluent_kafka import Consumer as Client

log = logging.getLogger("penstock_kafka")

GO_ON_AT = (
    0.5  # of max_uncommitted: a partition that is held back goes on when so much is left; each pause costs fetches
)
END_TIMEOUT = 1.0  # seconds for a question about the end of a partition that is not being fetched

_offset, _partition, _topic = Message.offset, Message.partition, Message.topic


class Assignment:
    """What a consumer of a group owns at the moment. Its methods run on the polling thread, except `lag`.

    Args:
        client: The consumer.
        max_uncommitted: How far deliveries of a partition may run ahead of what can be committed.
        cooperative: Whether assignments are told as differences.
        topic: The only topic there is; None if there may be several.

    Attributes:
        tracker: A ledger for each partition.
        known: Whether the group has told us what is ours, be it nothing.
    """

    def __init__(self, client: Client, max_uncommitted: int, cooperative: bool, topic: str | None) -> None:
        self.tracker: OffsetTracker[Partition] = OffsetTracker()
        self.known = False
        self._client = client
        self._max_uncommitted = max_uncommitted
        self._cooperative = cooperative
        self._only_topic = topic
        self._paused = False
        self._held_back: set[Partition] = set()
        # The offset at which a partition was read to its end; behind transaction markers it is past the last message.
        self._ends: dict[Partition, int] = {}

    # -- messages

    def take(self, messages: Sequence[Message]) -> list[KafkaMessage]:
        """Note messages as delivered and wrap them. Those of a partition that is no longer ours are its owner's."""
        # Only an error may come without topic, partition or offset: the client's types do not know that.
        partitions: list[int] = list(map(_partition, messages))  # type: ignore[arg-type]
        topic = self._only_topic
        if topic is not None and partitions.count(partitions[0]) == len(messages):
            return self._take_run((topic, partitions[0]), messages)
        if topic is None:
            topics: list[str] = list(map(_topic, messages))  # type: ignore[arg-type]
            keys: Iterable[Partition] = zip(topics, partitions, strict=True)
        else:
            keys = ((topic, partition) for partition in partitions)
        taken: list[KafkaMessage] = []
        start = 0
        for key, run in groupby(keys):
            end = start + len(list(run))
            taken += self._take_run(key, messages[start:end])
            start = end
        return taken

    def _take_run(self, key: Partition, messages: Sequence[Message]) -> list[KafkaMessage]:
        if self.tracker.ledger(key) is None:
            return []
        offsets: list[int] = list(map(_offset, messages))  # type: ignore[arg-type]
        ledger = self.tracker.begin(key, offsets)
        if ledger.span() > self._max_uncommitted:
            self._hold_back(key)
        return [
            KafkaMessage(message, message.value(), ledger, offset)
            for message, offset in zip(messages, offsets, strict=True)
        ]

    def at_end(self, key: Partition, offset: int) -> None:
        """A partition was read to its end."""
        self._ends[key] = offset

    # -- rebalances

    def assigned(self, partitions: list[TopicPartition]) -> None:
        """Take partitions over, each with a ledger of its own."""
        self.known = True
        for key in keys_of(partitions):
            self.tracker.assign(key)
            self._ends.pop(key, None)
            self._held_back.discard(key)
        (self._client.incremental_assign if self._cooperative else self._client.assign)(partitions)
        if partitions:
            # The client remembers a pause across a rebalance: without this, a partition that was lost while it was
            # paused comes back silent for ever.
            (self._client.pause if self._paused else self._client.resume)(partitions)

    def ended(self, keys: Iterable[Partition], lost: bool) -> None:
        """Forget partitions: what is settled of them from now on comes too late.

        Args:
            keys: The partitions.
            lost: Taken away without asking, so that a new assignment is still to come.
        """
        # Otherwise an empty hand between two assignments would look like an empty queue.
        self.known = self._cooperative and not lost
        for key in keys:
            self.tracker.revoke(key)
            self._ends.pop(key, None)
            self._held_back.discard(key)

    # -- pauses

    def pause(self) -> None:
        """Fetch nothing: there is no room, and the client must be polled nevertheless."""
        if not self._paused:
            self._paused = True
            self._client.pause(self._all())

    def resume(self) -> None:
        """Undo `pause`."""
        if self._paused:
            self._paused = False
            self._client.resume([each for each in self._all() if (each.topic, each.partition) not in self._held_back])

    def let_go(self) -> None:
        """Resume partitions that were held back, once enough of them is settled."""
        for key in list(self._held_back):
            ledger = self.tracker.ledger(key)
            if ledger is not None and ledger.span() <= self._max_uncommitted * GO_ON_AT:
                self._held_back.discard(key)
                if not self._paused:
                    self._client.resume([TopicPartition(*key)])

    def _hold_back(self, key: Partition) -> None:
        if key in self._held_back:
            return
        self._held_back.add(key)
        self._client.pause([TopicPartition(*key)])
        ledger = self.tracker.ledger(key)
        waits_for = ledger.safe() if ledger is not None else None
        log.warning("%s/%d is paused: more than %d offsets wait for the one at %s to be settled", *key,
                    self._max_uncommitted, waits_for)  # fmt: skip

    def _all(self) -> list[TopicPartition]:
        return [TopicPartition(*ledger.partition) for ledger in self.tracker.ledgers()]

    # -- lag

    def lag(self) -> int | None:
        """Messages that were not delivered yet; None as long as that is not known of every partition."""
        if not self.known:
            return None
        total = 0
        for ledger in self.tracker.ledgers():
            key = ledger.partition
            read_to_end = self._ends.get(key)
            if ledger.next is None and read_to_end is None:
                return None
            end = self._end(key)
            if end is None:
                return None
            total += max(0, end - max(ledger.next or 0, read_to_end or 0))
        return total

    def _end(self, key: Partition) -> int | None:
        fetched = not self._paused and key not in self._held_back
        try:
            # What the last fetch has told costs nothing; a partition that is not being fetched must be asked about.
            found = self._client.get_watermark_offsets(TopicPartition(*key), timeout=END_TIMEOUT, cached=fetched)
        except KafkaException:
            return None  # away, or just lost: unknown is the true answer
        return None if found is None or found[1] in (OFFSET_INVALID, -1) else found[1]


def keys_of(partitions: Iterable[TopicPartition]) -> list[Partition]:
    """Topic and number of each."""
    return [(each.topic, each.partition) for each in partitions]
