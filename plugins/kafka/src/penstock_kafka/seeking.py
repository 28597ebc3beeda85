"""Moves a group that has no members to another place, by an administrator's client."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from penstock.errors import ConnectorError
from penstock_kafka.client_callbacks import ClientCallbacks
from penstock_kafka.connection import check_connection, invalid_settings
from penstock_kafka.errors import connector_error
from penstock_kafka.known_keys import CONSUMER, PRODUCER
from penstock_kafka.message import Partition
from penstock_kafka.options import ClientOptions

_HAS_MEMBERS = {KafkaError.UNKNOWN_MEMBER_ID, KafkaError.NON_EMPTY_GROUP, KafkaError.REBALANCE_IN_PROGRESS}


def seek(options: ClientOptions, partitions: Sequence[Partition], to: str | datetime | tuple[Partition, int]) -> None:
    """Commit other offsets for the group. Blocks.

    Args:
        options: Of the queue.
        partitions: All of its topics.
        to: "beginning", "end", a time, or a partition and the offset to be read next in it.

    Raises:
        NotConnected: no broker answers.
        ConnectorError: the group has members, or the brokers refuse.
    """
    where = f"Kafka at {options.brokers}: group {options.group_id!r}"
    client = _client(options)
    try:
        if isinstance(to, tuple):
            places = [TopicPartition(*to[0], to[1])]
        else:
            places = _places(client, partitions, to, options.connect_timeout)
        request = ConsumerGroupTopicPartitions(options.group_id or "", places)
        asked = client.alter_consumer_group_offsets([request], request_timeout=options.connect_timeout)
        for answer in asked.values():
            for each in answer.result().topic_partitions:
                if each.error is not None:
                    raise KafkaException(each.error)
    except KafkaException as error:
        if error.args[0].code() in _HAS_MEMBERS:
            raise ConnectorError(f"{where} has members, and only one without can be moved; stop them first") from None
        raise connector_error(error.args[0], where) from None


def _client(options: ClientOptions) -> AdminClient:
    callbacks = ClientCallbacks()
    own = CONSUMER | PRODUCER
    settings = {key: value for key, value in options.client_settings("input").items() if key not in own}
    try:
        client = AdminClient(callbacks.listening(settings))
    except KafkaException as error:
        raise invalid_settings(error) from None
    check_connection(client, lambda: client.poll(0), callbacks, [], options.brokers, options.connect_timeout)
    return client


def _places(
    client: AdminClient, partitions: Sequence[Partition], to: str | datetime, timeout: float
) -> list[TopicPartition]:
    found = _offsets(client, partitions, _spec(to), timeout)
    if missing := [key for key, offset in found.items() if offset < 0]:  # nothing is as young as that time
        found |= _offsets(client, missing, OffsetSpec.latest, timeout)
    return [TopicPartition(*key, offset) for key, offset in found.items()]


def _spec(to: str | datetime) -> Callable[[], Any]:
    if isinstance(to, datetime):
        milliseconds = int(to.timestamp() * 1000)
        return lambda: OffsetSpec.for_timestamp(milliseconds)
    ends: dict[str, Callable[[], Any]] = {"beginning": OffsetSpec.earliest, "end": OffsetSpec.latest}
    return ends[to]


def _offsets(
    client: AdminClient, partitions: Sequence[Partition], spec: Callable[[], Any], timeout: float
) -> dict[Partition, int]:
    wanted = {TopicPartition(*key): spec() for key in partitions}
    answers = client.list_offsets(wanted, request_timeout=timeout)
    return {(each.topic, each.partition): answer.result().offset for each, answer in answers.items()}
