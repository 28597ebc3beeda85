"""Topics of Pub/Sub, seen by Google's blocking client, and counted by the server itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast
from urllib.request import urlopen

import grpc
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import PubsubMessage

from tests.chaos.ledger import Letter, Sent
from tests.chaos.servers import Place
from tests.servers.pubsub import PROJECT, PubSubServer

TIMEOUT = 3.0  # seconds after which the worker takes a server that says nothing for gone
AT_ONCE = 1_000


class PubSubBackend:
    """See `Backend`."""

    def __init__(self, place: Place, label: str) -> None:
        self._server = cast(PubSubServer, place.server)
        self._through_proxy = f"127.0.0.1:{place.proxy.port}"
        self._label = label
        self._channel = grpc.insecure_channel(f"127.0.0.1:{place.direct}")
        self._publisher = PublisherClient(transport=PublisherGrpcTransport(channel=self._channel))
        self._subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=self._channel))

    def queue(self, name: str, lease: float, dead_letters: bool = False) -> dict[str, Any]:
        topic = self._publisher.create_topic(name=self._path(name, "topics")).name
        # Workers read the source, the ledger the other topics.
        subscription = {"name": self._path(name, "subscriptions"), "topic": topic, "ack_deadline_seconds": 10}
        self._subscriber.create_subscription(request=subscription)
        options = {"project": PROJECT, "emulator": self._through_proxy, "timeout": TIMEOUT, "ack_deadline": int(lease)}
        profile = "pubsub-dlq" if dead_letters else "pubsub"
        return {"profile": profile, "value": f"{self._label}-{name}", "config": options}

    def _path(self, name: str, kind: str) -> str:
        return f"projects/{PROJECT}/{kind}/{self._label}-{name}"

    def fill(self, name: str, messages: Sequence[Sent]) -> None:
        for start in range(0, len(messages), AT_ONCE):
            some = [PubsubMessage(data=sent.body) for sent in messages[start : start + AT_ONCE]]
            self._publisher.publish(topic=self._path(name, "topics"), messages=some)

    def _counts(self, name: str) -> list[int]:
        with urlopen(f"http://127.0.0.1:{self._server.counts}/{self._path(name, 'topics')}", timeout=10) as answer:
            return [int(word) for word in answer.read().split()]

    def count(self, name: str) -> int | None:
        return self._counts(name)[0]

    def unsettled(self, name: str) -> int | None:
        return self._counts(name)[1]

    def outputs(self, name: str) -> Sequence[bytes]:
        return [message.data for message in self._read(name)]

    def letters(self, name: str) -> Sequence[Letter]:
        return [Letter(each.data, each.attributes.get("penstock-error-stage", "?")) for each in self._read(name)]

    def _read(self, name: str) -> Iterator[PubsubMessage]:
        subscription = self._path(name, "subscriptions")
        while self._counts(name)[1]:
            received = self._subscriber.pull(subscription=subscription, max_messages=AT_ONCE).received_messages
            yield from (each.message for each in received)
            if ack_ids := [each.ack_id for each in received]:
                self._subscriber.acknowledge(subscription=subscription, ack_ids=ack_ids)

    def close(self) -> None:
        self._channel.close()
