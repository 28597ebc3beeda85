"""A double of Azure Service Bus, for there is no emulator in any package registry: as much of it as a queue needs.

python servicebus_double.py PORT

It speaks AMQP 1.0 by Apache Qpid Proton: tokens at `$cbs`, batches, locks that expire and are renewed, settlements with
their outcome, scheduled messages, peeking, the dead-letter queue. Everything is in memory. A queue exists once it is
named, unless its name begins with `missing`. The name of a connection's key says how long its locks are: see KEYS.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import sys
import time
import urllib.parse
import uuid
from collections import defaultdict
from typing import Any

from proton import UNDESCRIBED, Array, Condition, Data, Delivery, Handler, Message, int32, symbol, timestamp
from proton.handlers import FlowController, Handshaker
from proton.reactor import Container

KEYS = {"worker": ("c2VjcmV0", 30.0), "short": ("c2VjcmV0", 1.0)}
"""Name of a key → its value, and the seconds of a lock that a connection with it gets."""

MAX_MESSAGE = 256 * 1024  # bytes, of the Standard tier
LOST = "com.microsoft:message-lock-lost"
DATA_SECTION = 0x75
SECTIONS = range(0x70, 0x79)


class Stored:
    """A message in a queue."""

    def __init__(self, encoded: bytes, number: int) -> None:
        self.message = Message()
        self.message.decode(encoded)
        self.message.inferred = True  # the body is bytes, and no value
        self.number = number
        self.count = 0
        self.enqueued = time.time()
        given = self.message.annotations or {}
        self.visible = float(given.get(symbol("x-opt-scheduled-enqueue-time"), 0)) / 1000
        self.token: uuid.UUID | None = None
        self.until = 0.0

    def lock(self, seconds: float) -> uuid.UUID:
        """Give it to a receiver."""
        self.token, self.until = uuid.uuid4(), time.time() + seconds
        return self.token

    def encoded(self) -> bytes:
        """As a receiver gets it."""
        times = {"x-opt-enqueued-time": self.enqueued, "x-opt-locked-until": self.until}
        annotations: dict[Any, Any] = {symbol(name): timestamp(int(at * 1000)) for name, at in times.items()}
        annotations[symbol("x-opt-sequence-number")] = self.number
        # 0 is active, 2 is scheduled.
        annotations[symbol("x-opt-message-state")] = int32(2 if self.visible > time.time() else 0)
        self.message.annotations = annotations
        self.message.delivery_count = self.count
        return bytes(self.message.encode())


class Double(Handler):
    """The server; its methods are called by Proton, on one thread."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._queues: dict[str, dict[int, Stored]] = defaultdict(dict)
        self._receivers: dict[str, list[Any]] = defaultdict(list)
        self._numbers = 0

    def on_reactor_init(self, event: Any) -> None:
        event.reactor.listen(f"127.0.0.1:{self._port}")
        event.reactor.schedule(0.05, self)

    def on_timer_task(self, event: Any) -> None:
        for queue in list(self._receivers):
            self._deliver(queue)
        event.reactor.schedule(0.05, self)

    def on_link_remote_open(self, event: Any) -> None:
        link = event.link
        address = (link.remote_source if link.is_sender else link.remote_target).address or ""
        path = urllib.parse.urlsplit(address).path.strip("/") if "://" in address else address
        link.node = path.lower()
        link.max_message_size = MAX_MESSAGE
        if link.node.startswith("missing"):
            link.open()
            link.condition = Condition("amqp:not-found", f"The messaging entity '{path}' could not be found.")
            link.close()
        elif link.is_sender and "$management" not in link.node and link.node != "$cbs":
            link.rcv_settle_mode = link.remote_rcv_settle_mode
            self._receivers[link.node].append(link)
        elif link.is_sender:
            event.connection.replies = {**getattr(event.connection, "replies", {}), link.node: link}

    def on_link_remote_close(self, event: Any) -> None:
        for links in self._receivers.values():
            links[:] = [link for link in links if link != event.link]

    def on_transport_closed(self, event: Any) -> None:
        for links in self._receivers.values():
            links[:] = [link for link in links if link.connection != event.connection]

    def on_link_flow(self, event: Any) -> None:
        link = event.link
        if link.is_sender and link in self._receivers.get(getattr(link, "node", ""), ()):
            self._deliver(link.node)
            if link.drain_mode:
                link.drained()

    def on_delivery(self, event: Any) -> None:
        link, delivery = event.link, event.delivery
        if link.is_sender:
            if delivery.updated and hasattr(delivery, "stored"):
                self._settle(link.node, delivery)
        elif delivery.readable and not delivery.partial:
            encoded = link.recv(delivery.pending)
            link.advance()
            if link.node == "$cbs" or "$management" in link.node:
                self._answer(event.connection, link.node, encoded)
            elif len(encoded) <= MAX_MESSAGE:
                self._store(link.node, encoded)
            else:
                delivery.local.condition = _refusal("amqp:link:message-size-exceeded", "too large")
            delivery.update(Delivery.ACCEPTED if len(encoded) <= MAX_MESSAGE else Delivery.REJECTED)
            delivery.settle()

    # -- queues

    def _store(self, queue: str, encoded: bytes) -> None:
        for each in _messages(encoded):
            self._numbers += 1
            self._queues[queue][self._numbers] = Stored(each, self._numbers)
        self._deliver(queue)

    def _deliver(self, queue: str) -> None:
        now = time.time()
        links = [link for link in self._receivers[queue] if link.credit > link.queued]
        if not links:
            return
        for stored in self._queues[queue].values():
            if stored.visible > now or stored.until > now:
                continue
            if stored.token is not None:
                stored.count += 1  # a lock that expired
            link = links[0]
            token = stored.lock(getattr(link.connection, "lock", 30.0))
            delivery = link.delivery(token.bytes_le)
            delivery.stored, delivery.token = stored, token
            link.stream(stored.encoded())
            link.advance()
            links = [*(links[1:]), *([link] if link.credit > 0 else [])]
            if not links:
                return

    def _settle(self, queue: str, delivery: Any) -> None:
        stored, state = delivery.stored, delivery.remote_state
        if not state:
            return
        if stored.token != delivery.token or stored.until <= time.time():
            delivery.local.condition = _refusal(LOST, "The lock supplied is invalid.")
            delivery.update(Delivery.REJECTED)
        else:
            self._finish(queue, stored, state)
            if state == Delivery.MODIFIED:
                delivery.local.failed = delivery.remote.failed
            delivery.update(state)
        delivery.settle()

    def _finish(self, queue: str, stored: Stored, state: Any) -> None:
        stored.token, stored.until = None, 0.0
        if state == Delivery.MODIFIED:
            stored.count += 1
            # To the end: without sessions, the service promises no order.
            self._queues[queue][stored.number] = self._queues[queue].pop(stored.number)
        if state in (Delivery.ACCEPTED, Delivery.REJECTED):
            del self._queues[queue][stored.number]
        if state == Delivery.REJECTED:
            self._queues[f"{queue}/$deadletterqueue"][stored.number] = stored
        self._deliver(queue)

    # -- requests

    def _answer(self, connection: Any, node: str, encoded: bytes) -> None:
        request = Message()
        request.decode(encoded)
        if node == "$cbs":
            properties, body = self._put_token(connection, request.body), None
        else:
            queue = node.partition("/$management")[0]
            properties, body = self._manage(queue, connection, request.properties["operation"], request.body)
        answer = Message(body=body, correlation_id=request.id, properties=properties)
        link = connection.replies[node]
        link.delivery(uuid.uuid4().bytes)
        link.stream(answer.encode())
        link.advance()

    def _put_token(self, connection: Any, token: str) -> dict[str, Any]:
        given = dict(part.split("=", 1) for part in token.removeprefix("SharedAccessSignature ").split("&"))
        key, connection.lock = KEYS.get(given["skn"], ("", 0.0))
        signed = hmac.new(key.encode(), f"{given['sr']}\n{given['se']}".encode(), hashlib.sha256).digest()
        right = base64.b64encode(signed).decode() == urllib.parse.unquote(given["sig"])
        if right:
            return {"status-code": int32(200), "status-description": "OK"}
        return {"status-code": int32(401), "status-description": "Unauthorized access: InvalidSignature."}

    def _manage(self, queue: str, connection: Any, operation: str, body: Any) -> tuple[dict[str, Any], Any]:
        operation = operation.removeprefix("com.microsoft:")
        found = {stored.token: stored for stored in self._queues[queue].values() if stored.until > time.time()}
        if operation == "peek-message":
            first, count = body["from-sequence-number"], body["message-count"]
            seen = sorted((each for each in self._queues[queue].values() if each.number >= first), key=_number)[:count]
            answer = {"messages": [{"message": each.encoded()} for each in seen]}
            return {"statusCode": int32(200 if seen else 204)}, answer
        locked = [found.get(token) for token in body["lock-tokens"].elements]
        if None in locked:
            return {"statusCode": int32(410), "errorCondition": symbol(LOST), "statusDescription": "lock lost"}, None
        for stored in locked:
            if operation == "renew-lock":
                stored.until = time.time() + connection.lock
            else:
                states = {"completed": Delivery.ACCEPTED, "abandoned": Delivery.MODIFIED}
                self._finish(queue, stored, states.get(body["disposition-status"], Delivery.REJECTED))
        times = [timestamp(int(stored.until * 1000)) for stored in locked]
        return {"statusCode": int32(200)}, {"expirations": Array(UNDESCRIBED, Data.TIMESTAMP, *times)}


def _refusal(name: str, text: str) -> Condition:
    # The client wants the third field of an error, which Proton leaves out where it is empty.
    return Condition(name, text, {symbol("tracking-id"): "none"})


def _number(stored: Stored) -> int:
    return stored.number


def _messages(encoded: bytes) -> list[bytes]:
    """The messages of a transfer. Each section of data of a batch begins like a message; Proton hides the format."""
    parts, rest = [], encoded
    while rest:
        data = Data()
        size = data.decode(rest)
        data.rewind()
        data.next()
        section, rest = data.get_object(), rest[size:]
        if section.descriptor == DATA_SECTION:
            parts.append(bytes(section.value))
    return parts if all(part[:2] == b"\x00S" and part[2] in SECTIONS for part in parts) else [encoded]


if __name__ == "__main__":
    server = Double(int(sys.argv[1]))
    server.handlers = [Handshaker(), FlowController(1000)]
    Container(server).run()
