"""Queues of Azure, seen by Azure's own clients alone."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from azure.core.exceptions import AzureError
from azure.servicebus import ServiceBusClient, ServiceBusMessage
from azure.storage.queue import QueueClient

from tests.chaos.backends.rsmq import opened
from tests.chaos.ledger import Letter, Sent
from tests.chaos.servers import Place
from tests.servers.azurite import AzuriteServer
from tests.servers.servicebus import ServiceBusServer

PAGE = 250  # messages of one peek
READERS = 8  # requests to Azurite at a time
HIDDEN = 3600  # seconds for which what was read is hidden; it is kept here


class StorageQueueBackend:
    """See `Backend`."""

    def __init__(self, place: Place, label: str) -> None:
        self._server = AzuriteServer(place.direct)
        self._port = place.proxy.port
        self._label = label
        self._clients: dict[str, QueueClient] = {}
        self._read: dict[str, list[bytes]] = {}

    def queue(self, name: str, lease: float, dead_letters: bool = False) -> dict[str, Any]:
        # Only workers are killed here, so a server that is slow on a busy machine is not one that is away.
        where = {"connection_string": self._server.connection_string(self._port), "timeout": 60.0}
        queue = f"{self._label}-{name}".lower().replace("_", "-")
        self._clients[name] = QueueClient.from_connection_string(self._server.connection_string(), queue)
        self._clients[name].create_queue()
        profile = "storage_queue-dlq" if dead_letters else "storage_queue"
        return {"profile": profile, "value": queue, "config": {**where, "visibility_timeout": int(lease)}}

    def fill(self, name: str, messages: Sequence[Sent]) -> None:
        with ThreadPoolExecutor(READERS) as pool:
            sent = (b64encode(each.body).decode() for each in messages)
            list(pool.map(lambda text: self._clients[name].send_message(text, time_to_live=-1), sent))

    def count(self, name: str) -> int | None:
        try:
            return int(self._clients[name].get_queue_properties().approximate_message_count or 0)
        except AzureError:
            return None

    def unsettled(self, name: str) -> int | None:
        return self.count(name)

    def outputs(self, name: str) -> Sequence[bytes]:
        read = self._read.setdefault(name, [])
        pages = self._clients[name].receive_messages(messages_per_page=32, visibility_timeout=HIDDEN)
        read += [b64decode(message.content) for message in pages]
        return read

    def letters(self, name: str) -> Sequence[Letter]:
        return [opened(body) for body in self.outputs(name)]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


class ServiceBusBackend:
    """See `Backend`. Everything is seen by peeking, in the order of sequence numbers."""

    def __init__(self, place: Place, label: str) -> None:
        assert isinstance(place.server, ServiceBusServer)
        self._server = place.server
        self._port = place.proxy.port
        self._label = label
        self._client = ServiceBusClient.from_connection_string(self._server.connection_string())
        self._receivers: dict[str, Any] = {}
        self._stored: dict[str, list[Any]] = {}

    def queue(self, name: str, lease: float, dead_letters: bool = False) -> dict[str, Any]:
        where = {"connection_string": self._server.connection_string(self._port), "timeout": 60.0}
        self._receivers[name] = self._client.get_queue_receiver(f"{self._label}-{name}")
        profile = "servicebus-dlq" if dead_letters else "servicebus"
        return {"profile": profile, "value": f"{self._label}-{name}", "config": {**where, "lock_duration": lease}}

    def fill(self, name: str, messages: Sequence[Sent]) -> None:
        with self._client.get_queue_sender(f"{self._label}-{name}") as sender:
            for start in range(0, len(messages), 200):
                sender.send_messages([ServiceBusMessage(each.body) for each in messages[start : start + 200]])

    def _all(self, name: str) -> list[Any]:
        """What was ever seen in a queue that nobody consumes."""
        stored = self._stored.setdefault(name, [])
        while page := self._peek(name, stored[-1].sequence_number + 1 if stored else 1, PAGE):
            stored += page
        return stored

    def _peek(self, name: str, start: int, most: int) -> list[Any]:
        return list(self._receivers[name].peek_messages(most, sequence_number=start))

    def count(self, name: str) -> int | None:
        try:
            return len(self._all(name))
        except AzureError:
            return None

    def unsettled(self, name: str) -> int | None:
        try:
            found, start = 0, 1
            while page := self._peek(name, start, PAGE):
                found, start = found + len(page), page[-1].sequence_number + 1
            return found
        except AzureError:
            return None

    def outputs(self, name: str) -> Sequence[bytes]:
        return [b"".join(message.body) for message in self._all(name)]

    def letters(self, name: str) -> Sequence[Letter]:
        return [
            Letter(b"".join(message.body), _text((message.application_properties or {}).get(b"penstock-error-stage")))
            for message in self._all(name)
        ]

    def close(self) -> None:
        for receiver in self._receivers.values():
            receiver.close()
        self._client.close()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else "?"
