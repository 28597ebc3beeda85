"""The names of predicthq.kafka, as its document prints them.

What is sent is confirmed, and a batch is committed after its function has returned.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import confluent_kafka
from confluent_kafka import KafkaException

from penstock import BlockingQueues, Output
from penstock.lineage import HEADER, dump
from penstock_compat.predicthq.serializer import PhqSerializer, date, hops_of

__all__ = [
    "Consumer",
    "KafkaException",
    "Message",
    "Producer",
    "calc_ref_latencies",
    "format_batch_ref",
    "format_kafka_ref",
    "get_kafka_consumer",
    "get_kafka_producer",
    "pack_kafka_payload",
    "produce",
    "produce_batch",
    "unpack_kafka_payload",
]

log = logging.getLogger("penstock.compat.predicthq")

Ref = dict[str, Any]
QUEUE = "topic"
KEPT = 20  # hops of a message's way
CONSUMER: Mapping[str, Any] = {
    "session.timeout.ms": 10_000,
    "heartbeat.interval.ms": 3_000,
    "max.poll.interval.ms": 300_000,
    "queued.max.messages.kbytes": 10_000,
    "queued.min.messages": 100,
}
PRODUCER: Mapping[str, Any] = {"compression.type": "snappy"}


@dataclass(frozen=True)
class Message:
    """A message: its key, its item, what it was made of, and its topic."""

    id: str | None
    payload: Any
    ref: Ref | list[Ref] | None = None
    topic: str | None = None


class Producer:
    """Sends messages to a topic.

    Args:
        svc: The name of the service, for the way of a message.
        output_topic: The topic; a list of addresses in its place is that of the newer versions, whose calls name a
            topic each.
        bootstrap_servers: Addresses.
        kafka_producer_config: Keys of librdkafka, over the defaults.
    """

    def __init__(
        self,
        svc: str,
        output_topic: str | Sequence[str],
        bootstrap_servers: Sequence[str] | Mapping[str, Any] | None = None,
        kafka_producer_config: Mapping[str, Any] | None = None,
    ) -> None:
        self._svc = svc
        self._topic = output_topic if isinstance(output_topic, str) else None
        servers = bootstrap_servers if isinstance(output_topic, str) else output_topic
        if not isinstance(output_topic, str) and isinstance(bootstrap_servers, Mapping):
            kafka_producer_config = bootstrap_servers
        self._config = {**PRODUCER, **(kafka_producer_config or {}), "bootstrap.servers": _addresses(servers)}
        self._queues: dict[str, BlockingQueues] = {}

    def produce_batch(self, *arguments: Any) -> None:
        """Send messages, and wait until each is confirmed: `produce_batch(messages)`, or with a topic before them.

        Raises:
            ValueError: there is not a topic.
            NotSent: the server refuses some of them for good; which, it says.
        """
        *topics, messages = arguments
        topic = topics[0] if topics else self._topic
        if not topic:
            raise ValueError(f"Invalid Kafka output topic name: {topic}")
        if topic not in self._queues:
            self._queues[topic] = _queues(topic, self._config)
        outputs = [Output(QUEUE, each.payload, key=each.id, headers=self._way(each.ref)) for each in messages]
        self._queues[topic].send_batch(QUEUE, outputs)

    def produce(self, *arguments: Any) -> None:
        """Send one message; see `produce_batch`."""
        *topics, message = arguments
        self.produce_batch(*topics, [message])

    def close(self) -> None:
        """Close the connections."""
        for queues in self._queues.values():
            queues.close()
        self._queues.clear()

    def _way(self, ref: Any) -> list[tuple[str, bytes]]:
        hops = hops_of(_history(self._svc, ref))
        return [(HEADER, dump(hops[-KEPT:]))]


class Consumer:
    """Reads one topic or several in batches.

    Args:
        bootstrap_servers: Addresses; a service's name before them, as in the newer versions, is taken too.
        input_topic: A topic, or a list of them.
        group_id: The consumer group, whose offsets are those that predicthq-kafka committed.
        batch_size: The longest batch.
        consumer_timeout_ms: How long a batch may wait to be full, from its first message on.
        commit_message: False commits nothing.
        kafka_consumer_config: Keys of librdkafka, over the defaults.
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        if arguments and isinstance(arguments[0], str):
            arguments = arguments[1:]
        names = ["bootstrap_servers", "input_topic", "group_id", "batch_size", "consumer_timeout_ms"]
        names += ["commit_message", "kafka_consumer_config"]
        newer = {"kafka_bootstrap_servers": names[0], "input_topics": names[1], "consumer_group": names[2]}
        given = dict(zip(names, arguments, strict=False))
        given |= {newer.get(name, name): value for name, value in keywords.items() if name != "svc_name"}
        self._open(**given)

    def _open(
        self,
        bootstrap_servers: Sequence[str],
        input_topic: str | list[str],
        group_id: str,
        batch_size: int,
        consumer_timeout_ms: int,
        commit_message: bool = True,
        kafka_consumer_config: Mapping[str, Any] | None = None,
    ) -> None:
        topics = [input_topic] if isinstance(input_topic, str) else input_topic
        config = {**CONSUMER, **(kafka_consumer_config or {})}
        config |= {"bootstrap.servers": _addresses(bootstrap_servers), "group.id": group_id}
        self._batch_size, self._wait, self._commits = batch_size, consumer_timeout_ms / 1000, commit_message
        self._queues = _queues(",".join(topics), config)
        self.closed = False

    def process(self, func_handler: Callable[[list[Message]], Any], latest_only: bool = False) -> None:
        """Call the function with one batch after the other, and commit each when it has returned.

        Raises:
            Exception: the function's own; its batch is not committed, and the consumer is closed.
        """
        if not callable(func_handler):
            raise ValueError(f"Function handler is expected but got {type(func_handler)}")
        try:
            for batch in self._queues.read(QUEUE, batch=self._batch_size, wait=self._wait):
                messages = [_message(each.message, each.object) for each in batch if each.body is not None]
                if latest_only:
                    messages = _latest(messages)
                if messages:
                    func_handler(messages)
                if self._commits:
                    batch.done()
        finally:
            self.close()

    def close(self) -> None:
        """Leave the group. What is not committed comes again."""
        if not self.closed:
            self._queues.close()
            self.closed = True


def get_kafka_consumer(
    bootstrap_servers: Sequence[str], group_id: str, kafka_custom_config: Mapping[str, Any] | None = None
) -> confluent_kafka.Consumer:
    """The client itself, with the defaults; the caller commits."""
    own = {"auto.offset.reset": "earliest", "enable.auto.commit": False}
    settings = {**CONSUMER, **own, **(kafka_custom_config or {})}
    return confluent_kafka.Consumer(
        {**settings, "bootstrap.servers": _addresses(bootstrap_servers), "group.id": group_id}
    )


def get_kafka_producer(
    bootstrap_servers: Sequence[str], kafka_custom_config: Mapping[str, Any] | None = None
) -> confluent_kafka.Producer:
    """The client itself, with the defaults; an idempotent one, so that a retry changes no order."""
    settings = {**PRODUCER, "enable.idempotence": True, **(kafka_custom_config or {})}
    return confluent_kafka.Producer({**settings, "bootstrap.servers": _addresses(bootstrap_servers)})


def produce(
    producer: confluent_kafka.Producer,
    topic: str,
    partition: int | None = None,
    key: str | None = None,
    value: str | None = None,
) -> None:
    """Send one message, and wait until it is confirmed.

    Raises:
        KafkaException: it was not.
    """
    produce_batch(producer, topic, [{"partition": partition, "key": key, "value": value}])


def produce_batch(
    producer: confluent_kafka.Producer,
    topic: str,
    batch: Sequence[Mapping[str, Any]],
    ignore_large_message_errors: bool = False,
) -> None:
    """Send mappings with `key`, `value` and `partition`, and wait until all are confirmed.

    Raises:
        KafkaException: one was not; the first error.
    """
    errors: list[confluent_kafka.KafkaError] = []
    too_large = confluent_kafka.KafkaError.MSG_SIZE_TOO_LARGE

    def skipped(code: int) -> bool:
        if skip := code == too_large and ignore_large_message_errors:
            log.error("a message for %s is too large, and was left out", topic)
        return skip

    def confirmed(error: confluent_kafka.KafkaError | None, _message: Any) -> None:
        if error is not None and not skipped(error.code()):
            errors.append(error)

    for each in batch:
        place = {} if each.get("partition") is None else {"partition": each["partition"]}
        try:
            _produce(producer, topic, each.get("key"), each.get("value"), on_delivery=confirmed, **place)
        except KafkaException as error:
            if not skipped(error.args[0].code()):
                raise
    producer.flush()
    if errors:
        raise KafkaException(errors[0])


def _produce(producer: confluent_kafka.Producer, topic: str, key: Any, value: Any, **keywords: Any) -> None:
    while True:
        try:
            producer.produce(topic, value, key, **keywords)
        except BufferError:  # the client's queue is full
            producer.poll(0.1)
        else:
            return


def format_kafka_ref(ref: Ref) -> str:
    """One message of a way, as text."""
    return "{topic}:{partition}:{offset}:{key}".format(**ref)


def format_batch_ref(batch_ref: Mapping[str, Mapping[int, tuple[int, int]]]) -> str:
    """The offsets of a batch, as text: `orders[0=10:20,1=7:9]`."""
    return ",".join(
        f"{topic}[{','.join(f'{partition}={low}:{high + 1}' for partition, (low, high) in partitions.items())}]"
        for topic, partitions in batch_ref.items()
    )


def pack_kafka_payload(svc: str, item: Any, refs: Sequence[Ref] = ()) -> str:
    """The body of a message: the item, and its way."""
    return json.dumps({"item": item, "hist": _history(svc, list(refs))})


def unpack_kafka_payload(message: confluent_kafka.Message) -> tuple[Any, Ref] | None:
    """The item of a message of the client, and its reference; None for a tombstone."""
    body, key = message.value(), message.key()
    if not body:
        return None
    content = json.loads(body)
    ref = {"topic": message.topic(), "partition": message.partition(), "offset": message.offset()}
    return content["item"], {**ref, "key": (key or b"").decode(), "hist": content.get("hist")}


def calc_ref_latencies(this_svc: str, ref: Ref, target_svc: str | None = None) -> tuple[list[tuple[str, float]], float]:
    """Seconds of each service that a message went through, from the first one's end on, and in all.

    Args:
        this_svc: The service that has it now, which comes last.
        ref: `Message.ref`.
        target_svc: Begin at this service.
    """
    stages = [(hop.app, hop.time) for hop in hops_of(ref.get("hist"))]
    if target_svc is not None:
        first = next((number for number, (svc, _) in enumerate(stages) if svc == target_svc), None)
        stages = [] if first is None else stages[max(first - 1, 0) :]
    if not stages:
        return [], 0
    stages.append((this_svc, time.time()))
    begun = stages[0][1]
    ends: dict[tuple[int, str], float] = {}
    run = 0
    for number, (svc, ended) in enumerate(stages[1:], 1):
        run += number > 1 and svc != stages[number - 1][0]
        ends[run, svc] = ended
    latencies, before = [], begun
    for (_, svc), ended in ends.items():
        latencies.append((svc, ended - before))
        before = ended
    return latencies, before - begun


def _queues(topics: str, config: Mapping[str, Any]) -> BlockingQueues:
    queue = {"connector": "kafka", "value": topics, "config": config}
    return BlockingQueues({"queues": {QUEUE: {**queue, "serializer": PhqSerializer, "model_handler": None}}})


def _message(message: Any, item: Any) -> Message:
    client = message.message_context
    if (unpacked := unpack_kafka_payload(client)) is None:
        return Message(None, item, None, client.topic())
    ref = unpacked[1]
    return Message(ref["key"], item, ref, client.topic())


def _latest(messages: list[Message]) -> list[Message]:
    latest: dict[tuple[str | None, str | None], Message] = {}
    for each in messages:
        place = (each.topic, each.id)  # the same key of another topic is another message
        latest.pop(place, None)
        latest[place] = each
    return list(latest.values())


def _history(svc: str, ref: Any) -> dict[str, Any]:
    refs = ref if isinstance(ref, list) else [ref] if ref else []
    return {"svc": svc, "dt": date(time.time()), "refs": refs}


def _addresses(servers: Any) -> str:
    return servers if isinstance(servers, str) else ",".join(servers or ())
