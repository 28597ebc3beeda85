"""Topics, seen by confluent-kafka alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.chaos.backends.by_outputs import without_output
from tests.chaos.ledger import Letter, Sent
from tests.chaos.limits import COMMIT_INTERVAL
from tests.chaos.servers import Place
from tests.servers.kafka.server import KafkaServer

PARTITIONS = 4

ANSWER_WITHIN = 5.0  # seconds for a question of the ledger's


class KafkaBackend:
    """See `Backend`."""

    def __init__(self, place: Place, label: str) -> None:
        self._server = cast(KafkaServer, place.server)
        self._through_proxy = f"127.0.0.1:{place.proxy.port}"
        self._label = label
        self._clients = {"bootstrap.servers": self._server.bootstrap, "log_level": 0}
        self._reader = Consumer({**self._clients, "group.id": f"{label}-ledger", "enable.auto.commit": False})

    def queue(self, name: str, lease: float, dead_letters: bool = False) -> dict[str, Any]:
        self._server.topic(self._topic(name), PARTITIONS)
        return {
            "profile": "confluent-dlq" if dead_letters else "confluent",
            "value": self._topic(name),
            "config": {
                "bootstrap.servers": self._through_proxy,
                "group.id": self._label,
                "commit_interval": COMMIT_INTERVAL,
                # Without these a connection that died in silence is noticed after a minute only.
                "socket.timeout.ms": 4_000,
                "consumer": {
                    "session.timeout.ms": int(lease * 1000),
                    "heartbeat.interval.ms": 500,
                },
                "producer": {"request.timeout.ms": 3_000},
            },
        }

    def _topic(self, name: str) -> str:
        return f"{self._label}-{name}"

    def fill(self, name: str, messages: Sequence[Sent]) -> None:
        producer = Producer({**self._clients, "linger.ms": 5, "enable.idempotence": True})
        for sent in messages:
            producer.produce(self._topic(name), sent.body, sent.key)
            producer.poll(0)
        if producer.flush(60):
            raise RuntimeError("Kafka did not confirm what the ledger sent")

    def count(self, name: str) -> int | None:
        try:
            return sum(self._high(name))
        except KafkaException:
            return None

    def _high(self, name: str) -> list[int]:
        places = [TopicPartition(self._topic(name), number) for number in range(PARTITIONS)]
        return [self._reader.get_watermark_offsets(place, timeout=ANSWER_WITHIN)[1] for place in places]

    def unsettled(self, name: str) -> int | None:
        places = [TopicPartition(self._topic(name), number) for number in range(PARTITIONS)]
        # A client of its own each time: one that saw the broker die waits out its pauses first.
        admin = AdminClient(self._clients)
        question = [ConsumerGroupTopicPartitions(self._label, places)]
        try:
            [answer] = admin.list_consumer_group_offsets(question, request_timeout=ANSWER_WITHIN).values()
            committed = {each.partition: max(0, each.offset) for each in answer.result(ANSWER_WITHIN).topic_partitions}
            return sum(high - committed.get(number, 0) for number, high in enumerate(self._high(name)))
        except (KafkaException, TimeoutError):
            return None

    def outputs(self, name: str) -> Sequence[bytes]:
        return [message.value() or b"" for message in self._read(name)]

    def letters(self, name: str) -> Sequence[Letter]:
        found = []
        for message in self._read(name):
            headers = dict(cast(Any, message.headers() or []))
            found.append(Letter(message.value() or b"", (headers.get("penstock-error-stage") or b"?").decode()))
        return found

    def _read(self, name: str) -> Iterator[Message]:
        """All there is, partition by partition."""
        for number, high in enumerate(self._high(name)):
            if not high:
                continue
            self._reader.assign([TopicPartition(self._topic(name), number, 0)])
            position = 0
            while position < high:
                for message in self._reader.consume(1_000, 1.0):
                    if message.error():
                        continue  # a broker that went meanwhile; the client goes on by itself
                    position = cast(int, message.offset()) + 1
                    yield message
        self._reader.unassign()

    def close(self) -> None:
        self._reader.close()


class ShareBackend(KafkaBackend):
    """See `Backend`. The input is read by a share group."""

    def __init__(self, place: Place, label: str) -> None:
        super().__init__(place, label)
        self._sent = 0
        self._results: list[str] = []

    def queue(self, name: str, lease: float, dead_letters: bool = False) -> dict[str, Any]:
        if name != "source":
            self._results.append(name)
            return super().queue(name, lease, dead_letters)
        self._server.topic(self._topic(name), PARTITIONS)
        # A member that a busy machine does not let speak is not one that died.
        group = {"share.session.timeout.ms": int(lease * 1000)}
        config = {"bootstrap.servers": self._through_proxy, "group.id": self._label, "group": group}
        return {"profile": "kafka-share", "value": self._topic(name), "config": config}

    def fill(self, name: str, messages: Sequence[Sent]) -> None:
        # What was sent as one batch is locked as one.
        self._clients |= {"batch.num.messages": 100}
        super().fill(name, messages)
        self._sent = len(messages)

    def unsettled(self, name: str) -> int | None:  # noqa: ARG002
        return without_output(self, self._sent, self._results)
