"""The text that is committed with an offset: which messages above it are settled, so that they are not repeated."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from penstock.offsets import Ledger
from penstock.progress import Progress, dump, load
from penstock_kafka.errors import describe
from penstock_kafka.message import Partition

if TYPE_CHECKING:
    from confluent_kafka import Consumer as Client

log = logging.getLogger("penstock.kafka")

LIMIT = 4000  # characters; brokers accept slightly more by default (offset.metadata.max.bytes: 4096)
LIMIT_TOGETHER = 256 * 1024  # characters in one commit, which a coordinator stores as one batch of records
FULL = 0.5  # of the limit; above it a partition is held back, because what no longer fits would be repeated
READ_TIMEOUT = 5.0  # seconds to read what previous owners have stored

TOO_LARGE = (KafkaError.OFFSET_METADATA_TOO_LARGE, KafkaError.INVALID_COMMIT_OFFSET_SIZE)


class CommitMetadata:
    """Writes and reads the texts of one consumer.

    Args:
        where: For messages.

    Attributes:
        cluster: The cluster's id. Until it is known, nothing is written or read.
        full: Partitions whose text has hardly any room left.
    """

    def __init__(self, where: str) -> None:
        self.cluster: str | None = None
        self.full: set[Partition] = set()
        self._where = where
        self._limit = LIMIT

    def write(self, safe: Mapping[Partition, Progress]) -> list[TopicPartition]:
        """The offsets to commit, with their texts."""
        limit = min(self._limit, LIMIT_TOGETHER // max(1, len(safe)))
        return [self._with_text(key, progress, limit) for key, progress in safe.items()]

    def _with_text(self, key: Partition, progress: Progress, limit: int) -> TopicPartition:
        text = "" if self.cluster is None else dump(progress, self._log_of(key), limit)
        if len(text) > limit * FULL:
            self.full.add(key)
        else:
            self.full.discard(key)
        if not text:
            return TopicPartition(*key, progress.offset)
        return TopicPartition(*key, progress.offset, text)

    def read(
        self, client: Client, ledgers: Mapping[Partition, Ledger[Partition]], timeout: float = READ_TIMEOUT
    ) -> set[Partition]:
        """Give new ledgers what previous owners have settled.

        Returns:
            The partitions for which that could not be read. Their messages would come twice if they were delivered.
        """
        if self.cluster is None or not ledgers:
            return set()
        try:
            stored = client.committed([TopicPartition(*key) for key in ledgers], timeout=timeout)
        except KafkaException as error:
            log.info("%s: what other workers have settled out of order cannot be read yet: %s",
                     self._where, describe(error.args[0]))  # fmt: skip
            return set(ledgers)
        unread: set[Partition] = set()
        for each in stored:
            key = (each.topic, each.partition)
            if each.error is not None:
                unread.add(key)
                continue
            progress = load(each.metadata, self._log_of(key), each.offset)
            if progress is not None:
                ledgers[key].inherit(progress)
                log.info("%s/%d: %d offsets above %d are settled already and are skipped", *key,
                         sum(after - first for first, after in progress.settled), progress.offset)  # fmt: skip
        return unread

    def shrink(self, error: KafkaError) -> bool:
        """Write shorter texts if the brokers reject their length. Returns False for any other error."""
        if error.code() not in TOO_LARGE or not self._limit:
            return False
        self._limit = self._limit // 2 if self._limit > LIMIT // 64 else 0
        log.warning("%s: the brokers store less with an offset than usual, now at most %d characters; more "
                    "messages may be repeated after a restart: see offset.metadata.max.bytes",
                    self._where, self._limit)  # fmt: skip
        return True

    def _log_of(self, key: Partition) -> str:
        return f"{self.cluster}/{key[0]}/{key[1]}"
