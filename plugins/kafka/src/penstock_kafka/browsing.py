"""Reading topics without changing anything: by assignment, in no group, without a commit."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from penstock.connectors import Backlog
from penstock.errors import ConnectorError, NotConnected
from penstock.message import BrowsedMessage
from penstock.progress import Progress, load
from penstock.timeouts import run_with_timeout
from penstock_kafka.client_callbacks import ClientCallbacks
from penstock_kafka.commit_metadata import READ_TIMEOUT
from penstock_kafka.connection import check_connection, invalid_settings
from penstock_kafka.errors import connector_error
from penstock_kafka.message import Partition, headers_of, position_of, timestamp_of
from penstock_kafka.options import ClientOptions, topics
from penstock_kafka.plugin import BROWSE_GROUP
from penstock_kafka.seeking import seek

MOST_BYTES = 8 * 1024 * 1024  # of bodies in one page
MOST_AT_ONCE = 1_000  # messages of one call of the client
POLL_SLICE = 0.1  # seconds of one wait in the client
OLDEST_TIMEOUT = 5.0  # seconds to read one message of each partition
LATEST = ("latest", "largest", "end")  # the client's words for a group that begins at the end
CLOSE_TIMEOUT = 4.0  # seconds


class Browser:
    """Reads the messages of a queue's topics: by topic, by partition, by offset. Its calls run on one thread.

    Args:
        name: The queue's `value`.
        options: Its options; the group may be missing.
    """

    def __init__(self, name: str, options: ClientOptions) -> None:
        self._name = name
        self._topics = topics(name, "input")
        self._options = options
        self._where = f"Kafka at {options.brokers}"
        self._callbacks = ClientCallbacks()
        self._client: Client | None = None
        self._follower: Client | None = None
        self._cluster: str | None = None

    def browse(self, limit: int, after: str | None) -> list[BrowsedMessage]:
        """See `Consumer.browse`."""
        start = None if after is None else self._parse(after)
        client = self._open()
        messages: list[BrowsedMessage] = []
        room = MOST_BYTES
        try:
            partitions = self._partitions(client)
            settled = self._settled(client, partitions)
            for key in partitions:
                if start is not None and key < start[0]:
                    continue
                first = start[1] if start is not None and key == start[0] else 0
                for found in self._read(client, key, first, limit - len(messages)):
                    messages.append(_message(found, settled.get(key)))
                    room -= len(found.value() or b"")
                    if len(messages) == limit or room <= 0:
                        return messages
            return messages
        except KafkaException as error:
            raise connector_error(error.args[0], f"{self._where}: {self._name}") from None
        finally:
            client.unassign()

    def follow(self, timeout: float) -> list[BrowsedMessage]:
        """See `Consumer.follow`; by a client of its own, which stays where it is between two calls."""
        try:
            if self._follower is None:
                client = self._open()
                ends = [TopicPartition(*key, self._ends_of(client, key)[1]) for key in self._partitions(client)]
                self._follower = self._make_client(ClientCallbacks())
                self._follower.assign(ends)
            found = self._follower.poll(timeout)
            more = [] if found is None else [found, *self._follower.consume(MOST_AT_ONCE, 0)]
        except KafkaException as error:
            raise connector_error(error.args[0], f"{self._where}: {self._name}") from None
        return [_message(each, None) for each in more if self._is_message(each)]

    def backlog(self) -> Backlog:
        """See `Consumer.backlog`: what the configured group has not committed. Nothing joins it."""
        client = self._open()
        try:
            partitions = self._partitions(client)
            settled = self._committed(client, partitions)
            unsettled = {key: self._unsettled(client, key, settled.get(key)) for key in partitions}
            first = {key: offset for key, (offset, count) in unsettled.items() if count}
            return Backlog(waiting=sum(count for _, count in unsettled.values()), oldest=self._oldest(client, first))
        except KafkaException as error:
            raise connector_error(error.args[0], f"{self._where}: group {self._options.group_id!r}") from None

    def seek(self, to: str | datetime) -> None:
        """See `Consumer.seek`."""
        place: str | datetime | tuple[Partition, int] = to
        if isinstance(to, str) and to not in ("beginning", "end"):
            partition, following = self._parse(to)
            place = (partition, following - 1)
        partitions = self._partitions(self._open())
        self.close()  # its client would stay beside one that joins the group
        seek(self._options, partitions, place)

    def _unsettled(self, client: Client, key: Partition, progress: Progress | None) -> tuple[int, int]:
        """Where the group goes on in a partition, and how many messages it has not settled."""
        low, high = self._ends_of(client, key)
        if progress is None:  # it has committed nothing
            at_end = str(self._options.merged_settings("input").get("auto.offset.reset")) in LATEST
            return (high, 0) if at_end else (low, high - low)
        first = max(progress.offset, low)
        return first, max(0, high - first - sum(after - start for start, after in progress.settled))

    def _oldest(self, client: Client, first: Mapping[Partition, int]) -> float | None:
        """The time of the oldest of the messages at these offsets; None if they were not all read in time."""
        times: list[float] = []
        deadline = time.monotonic() + OLDEST_TIMEOUT
        try:
            for key, offset in first.items():
                client.assign([TopicPartition(*key, offset)])
                while (found := client.poll(POLL_SLICE)) is None or not self._is_message(found):
                    if time.monotonic() > deadline:
                        return None
                times.append(timestamp_of(found) or math.inf)
            oldest = min(times, default=math.inf)
            return oldest if math.isfinite(oldest) else None
        finally:
            client.unassign()

    def _is_message(self, found: Message) -> bool:
        """Whether this is a message and not an error; raises what no retry mends."""
        error = found.error()
        if error is not None:
            self._ends(error, (found.topic() or "", found.partition() or 0))
        return error is None

    def _ends_of(self, client: Client, key: Partition) -> tuple[int, int]:
        """The first offset that a partition keeps, and the one after its last."""
        try:
            low, high = client.get_watermark_offsets(TopicPartition(*key), timeout=self._options.connect_timeout)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._UNKNOWN_PARTITION:
                raise
            # The brokers have just named it, so the client's metadata is behind.
            raise NotConnected(f"{self._where}: {key[0]}/{key[1]} is not known to the client yet") from None
        return low, high

    def _parse(self, after: str) -> tuple[Partition, int]:
        """The partition to begin with, and the offset."""
        topic, partition, offset = ("", *after.split("/"))[-3:] if after.count("/") == 2 else ("", "", "")
        if not (topic and partition.isdecimal() and offset.isdecimal()):
            raise ConnectorError(
                f"{after!r} is not a position of queue {self._name!r}; a position is topic/partition/offset, like "
                "'orders/0/42'"
            )
        return (topic, int(partition)), int(offset) + 1

    def _open(self) -> Client:
        if self._client is None:
            self._client = self._make_client(self._callbacks)
        client = self._client
        self._cluster = check_connection(
            client,
            lambda: client.poll(0),
            self._callbacks,
            self._topics,
            self._options.brokers,
            self._options.connect_timeout,
        )
        return client

    def _make_client(self, callbacks: ClientCallbacks) -> Client:
        options = self._options.model_copy(update={"group_id": self._options.group_id or BROWSE_GROUP})
        settings = options.client_settings("input") | {"auto.offset.reset": "earliest"}
        try:
            return Client(callbacks.listening(settings))
        except KafkaException as error:
            raise invalid_settings(error) from None

    def _partitions(self, client: Client) -> list[Partition]:
        found = client.list_topics(timeout=self._options.connect_timeout).topics
        patterns = [re.compile(name) for name in self._topics if name.startswith("^")]
        return sorted(
            (name, number)
            for name, topic in found.items()
            if name in self._topics or any(pattern.match(name) for pattern in patterns)
            for number in topic.partitions
        )

    def _settled(self, client: Client, partitions: Sequence[Partition]) -> Mapping[Partition, Progress]:
        """What the queue's group has settled, as far as that can be read. Reading it joins no group."""
        if self._options.group_id is None or not partitions:
            return {}
        with suppress(KafkaException):  # the user may read the topic but not the group
            return self._committed(client, partitions)
        return {}

    def _committed(self, client: Client, partitions: Sequence[Partition]) -> dict[Partition, Progress]:
        found: dict[Partition, Progress] = {}
        for each in client.committed([TopicPartition(*key) for key in partitions], timeout=READ_TIMEOUT):
            key = (each.topic, each.partition)
            if each.error is not None:
                raise KafkaException(each.error)
            if each.offset >= 0:
                log = f"{self._cluster}/{key[0]}/{key[1]}"
                found[key] = load(each.metadata, log, each.offset) or Progress(each.offset)
        return found

    def _read(self, client: Client, key: Partition, first: int, most: int) -> Iterator[Message]:
        """Messages of a partition from an offset up to where it ends now."""
        timeout = self._options.connect_timeout
        low, high = self._ends_of(client, key)
        first = max(first, low)
        if first >= high:
            return
        client.assign([TopicPartition(*key, first)])
        heard = time.monotonic()
        while time.monotonic() - heard < timeout:
            # The client waits for as many messages as it is asked for: so one is waited for, the rest only taken.
            one = client.poll(POLL_SLICE)
            found = [] if one is None else [one, *client.consume(min(most, MOST_AT_ONCE), 0)]
            for message in found:
                error = message.error()
                if error is None:
                    heard = time.monotonic()
                    yield message
                elif self._ends(error, key):
                    return
            if found and (found[-1].offset() or 0) >= high - 1:
                return
        raise NotConnected(
            f"{self._where}: {key[0]}/{key[1]}: no message came for {timeout:g} s, although there are more: "
            f"{self._callbacks.reason('the brokers do not answer')}"
        )

    def _ends(self, error: KafkaError, key: Partition) -> bool:
        """Whether the partition is read to its end. Errors that the client retries by itself are ignored."""
        if error.code() == KafkaError._PARTITION_EOF:
            return True
        problem = connector_error(error, f"{self._where}: {key[0]}/{key[1]}")
        # The user may read the topic but not use the group, which is not used here.
        if not isinstance(problem, NotConnected) and error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:
            raise problem
        return False

    def close(self) -> None:
        """Close the clients."""
        clients = [client for client in (self._client, self._follower) if client is not None]
        self._client = self._follower = None
        for client in clients:
            with suppress(TimeoutError, KafkaException):  # it holds nothing that could be lost
                run_with_timeout(client.close, CLOSE_TIMEOUT)


def _message(found: Message, group: Progress | None) -> BrowsedMessage:
    offset = found.offset() or 0
    settled = group is not None and (offset < group.offset or not group.unsettled([offset]))
    return BrowsedMessage(
        found.value(),
        position_of(found),
        key=found.key(),
        headers=headers_of(found),
        timestamp=timestamp_of(found),
        state="settled" if settled else "kept",
    )
