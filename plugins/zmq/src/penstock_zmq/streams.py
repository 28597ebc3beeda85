"""Push and pull: messages that go to one of the workers, and are stored nowhere."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import ClassVar
from uuid import uuid4

import zmq

from penstock.connectors import BlockingConsumer, BlockingProducer
from penstock.errors import ConnectorError, DecodeError, NotConnected, ProduceError
from penstock.message import QueueMessage, Record
from penstock_zmq.options import ZmqOptions
from penstock_zmq.sockets import ERRORS, Content, Endpoint, dump, load

log = logging.getLogger("penstock.zmq")

SLICE = 0.02  # seconds between two looks at the socket, whose sign may be lost to the thread that answers


class PullConsumer(BlockingConsumer):
    """Receives messages. What fails is delivered again from memory; what this process holds ends with it."""

    kind: ClassVar[int] = zmq.PULL
    promise: ClassVar[str] = (
        "at most once: ZeroMQ stores nothing, so messages that are on their way or in work are lost when a process ends"
    )

    _fate: ClassVar[str] = "and are lost"

    def __init__(self, name: str, options: ZmqOptions) -> None:
        super().__init__(name, options)
        self._options = options
        self.server = f"ZeroMQ at {options.address(name)}"
        self._endpoint: Endpoint | None = None
        self._lock = threading.Lock()  # the socket belongs to one thread at a time
        self._id = uuid4().hex
        self._count = 0
        self._held: dict[QueueMessage, Content] = {}  # with what came, whatever the function makes of it
        self._again: deque[QueueMessage] = deque()
        self._closed = False

    def connect(self) -> None:
        """Open the socket, and say what is not promised."""
        if self._endpoint is None and not self._closed:
            self._endpoint = Endpoint(self.kind, self.name, self._options, "input")
            log.warning("queue %s: %s", self.name, self.promise)

    def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """See `Consumer.consume`."""
        endpoint = self._endpoint
        if endpoint is None:
            raise ConnectorError(f"queue {self.name!r} is not connected")
        deadline = time.monotonic() + timeout
        while True:
            found = self._found(endpoint, max_messages)
            left = deadline - time.monotonic()
            if found or left <= 0:
                self._held.update({each: (each.message, each.key, tuple(each.headers)) for each in found})
                return found
            endpoint.wait(min(left, SLICE))

    def _found(self, endpoint: Endpoint, most: int) -> list[QueueMessage]:
        found = [self._again.popleft() for _ in range(min(most, len(self._again)))]
        try:
            with self._lock, ERRORS.translating(endpoint.address):
                while len(found) < most and (frames := endpoint.receive()) is not None:
                    if (message := self._message(frames)) is not None:
                        found.append(message)
        except BaseException:
            self._again.extendleft(reversed(found))  # else an error would take them with it, uncounted
            raise
        return found

    def _message(self, frames: list[bytes]) -> QueueMessage | None:
        """A message of frames; None for what is none, which is logged."""
        self._count += 1
        position = f"{self._id}-{self._count}"
        try:
            body, key, headers = load(frames)
        except DecodeError as error:
            log.error("queue %s: message %s is dropped: %s", self.name, position, error, extra={"position": position})
            return None
        return QueueMessage(position, body, key, headers, position=position)

    def on_success(self, messages: Sequence[QueueMessage]) -> int:
        """Forget the messages."""
        return sum(self._held.pop(message, None) is None for message in messages)

    def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int:  # noqa: ARG002
        """Deliver the messages again, from the memory of this process."""
        late = 0
        for old in messages:
            if (content := self._held.pop(old, None)) is None:
                late += 1
            else:
                place = old.position
                self._again.append(QueueMessage(place, *content, attempts=old.attempts + 1, position=place))
        return late

    def shutdown(self) -> None:
        """Close the socket; what is unsettled is lost, and counted in the log."""
        self._closed = True
        with self._lock:
            endpoint, self._endpoint = self._endpoint, None
            if endpoint is not None:
                endpoint.close()
        if lost := len(self._held) + len(self._again):
            log.warning(
                "queue %s: %d messages were not settled, %s", self.name, lost, self._fate, extra={"count": lost}
            )
        self._held.clear()
        self._again.clear()


class PushProducer(BlockingProducer):
    """Sends messages to the workers in turn. Confirmed means that the socket has taken them, no more."""

    def __init__(self, name: str, options: ZmqOptions) -> None:
        super().__init__(name, options)
        self._options = options
        self.server = f"ZeroMQ at {options.address(name)}"
        self._endpoint: Endpoint | None = None
        self._closed = False

    def connect(self) -> None:
        """Open the socket, and say what is not promised."""
        if self._endpoint is None and not self._closed:
            self._endpoint = Endpoint(zmq.PUSH, self.name, self._options, "output")
            log.warning("queue %s: %s", self.name, PullConsumer.promise)

    def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """Give records to the socket, and wait at most `timeout` seconds for a peer that takes them."""
        endpoint = self._endpoint
        if endpoint is None:
            raise ConnectorError(f"queue {self.name!r} is not connected")
        results: list[ProduceError | None] = []
        for record in records:
            frames = dump(record)
            if sum(map(len, frames)) > self._options.max_message_bytes:
                results.append(ProduceError("it is larger than 'max_message_bytes'", retriable=False))
                continue
            with ERRORS.translating(endpoint.address):
                if not endpoint.socket.poll(int(self._options.timeout * 1000), zmq.POLLOUT):
                    return self._unsent(records, results, endpoint.address)
                endpoint.socket.send_multipart(frames, zmq.NOBLOCK)
            results.append(None)
        return results

    def _unsent(
        self, records: Sequence[Record], results: list[ProduceError | None], address: str
    ) -> list[ProduceError | None]:
        encrypted = self._options.curve_secret_key is not None
        keys = ", or 'curve_server_key' and the other keys are wrong" if encrypted else ""
        text = (
            f"ZeroMQ at {address}: no peer took a message for {self._options.timeout:g} s: no peer is there, or those "
            f"that are have no room{keys}"
        )
        if not results:
            raise NotConnected(text)
        return [*results, *(ProduceError(text, retriable=True) for _ in records[len(results) :])]

    def shutdown(self) -> None:
        """Close the socket when what it has taken is sent, or after `linger` seconds."""
        self._closed = True
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            endpoint.close()
