"""Requests as an input, and the function's outputs as their answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import zmq

from penstock.connectors import BlockingProducer
from penstock.dead_letters import MESSAGE_ID
from penstock.errors import ConnectorError, ProduceError
from penstock.message import QueueMessage, Record
from penstock_zmq.options import ZmqOptions
from penstock_zmq.sockets import ERRORS, dump
from penstock_zmq.streams import PullConsumer, log

_servers: dict[str, ReplyConsumer] = {}
"""The inputs of this process that are connected, by address; their outputs answer through them."""


@dataclass(slots=True)
class Request:
    """A request that is not settled.

    Attributes:
        envelope: The frames up to the empty one, which lead the answer back.
        plain: It had a body only, so its answer has.
        answered: An answer was sent.
    """

    envelope: list[bytes]
    plain: bool
    answered: bool = False


class ReplyConsumer(PullConsumer):
    """Receives requests, any number at once. The header `penstock-id` of each leads its outputs back to it."""

    kind: ClassVar[int] = zmq.ROUTER
    promise: ClassVar[str] = (
        "the answer confirms a request, and nothing is stored: a requester whose answer does not come has to ask again"
    )
    _fate: ClassVar[str] = "and get no answer: their requesters have to ask again"

    def __init__(self, name: str, options: ZmqOptions) -> None:
        super().__init__(name, options)
        self._requests: dict[str, Request] = {}

    def connect(self) -> None:
        """See `PullConsumer.connect`."""
        super().connect()
        _servers[self._options.address(self.name)] = self

    def _message(self, frames: list[bytes]) -> QueueMessage | None:
        if b"" not in frames[1:]:
            log.error("queue %s: a request is dropped: it has no empty frame before its body; send it from a REQ "
                      "socket, or write that frame", self.name)  # fmt: skip
            return None
        end = frames.index(b"", 1) + 1
        message = super()._message(frames[end:])
        if message is not None:
            self._requests[message.position] = Request(frames[:end], plain=len(frames) == end + 1)
            others = [pair for pair in message.headers if pair[0].lower() != MESSAGE_ID]
            message.headers = [*others, (MESSAGE_ID, message.position.encode())]
        return message

    def answer(self, record: Record) -> ProduceError | None:
        """Send a record to the requester that its header names."""
        found = [value for name, value in record.headers if name.lower() == MESSAGE_ID and value is not None]
        request = self._requests.get(found[-1].decode(errors="replace")) if found else None
        if request is None:
            problem = (
                f"an answer needs the header {MESSAGE_ID} of a request that is in work: return it from the function "
                "that got the request; of several requests name one, `headers={'penstock-id': msg_ctx}`"
            )
            return ProduceError(problem, retriable=False)
        if request.plain and record.message is None:
            return ProduceError("an answer to a plain request needs a body", retriable=False)
        return self._send(request, [record.message or b""] if request.plain else dump(record, plain=False))

    def _send(self, request: Request, frames: list[bytes]) -> ProduceError | None:
        if request.answered:
            log.warning("queue %s: a second answer to one request is dropped", self.name)
            return None
        with self._lock:
            endpoint = self._endpoint
            if endpoint is None:
                raise ConnectorError(f"queue {self.name!r} is not connected")
            try:
                endpoint.socket.send_multipart([*request.envelope, *frames], zmq.NOBLOCK)
            except zmq.Again:
                return ProduceError("the requester does not read its answers", retriable=True)
            except zmq.ZMQError as error:
                if error.errno != zmq.EHOSTUNREACH:
                    raise ERRORS.translate(error, endpoint.address) from error
                log.warning("queue %s: an answer is dropped: its requester is gone", self.name)
        request.answered = True
        return None

    def on_success(self, messages: Sequence[QueueMessage]) -> int:
        """Forget the requests. One that has no answer gets an empty one, so that no requester waits for ever."""
        for message in messages:
            request = self._requests.pop(message.position, None) if message in self._held else None
            if request is not None and not request.answered and self._send(request, [b""]) is not None:
                log.warning("queue %s: an empty answer is dropped: its requester reads none", self.name)
        return super().on_success(messages)

    def shutdown(self) -> None:
        """See `PullConsumer.shutdown`."""
        address = self._options.address(self.name)
        if _servers.get(address) is self:
            del _servers[address]
        super().shutdown()
        self._requests.clear()


class ReplyProducer(BlockingProducer):
    """Sends answers through the input of the same address in this process."""

    def __init__(self, name: str, options: ZmqOptions) -> None:
        super().__init__(name, options)
        self.server = f"ZeroMQ at {options.address(name)}"
        self._closed = False

    def connect(self) -> None:
        """Do nothing: the input has the socket."""

    def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """Answer the requests that the records' headers name."""
        if self._closed:
            raise ConnectorError(f"queue {self.name!r} is closed")
        server = _servers.get(self.options.address(self.name))
        if server is None:
            problem = f"no input of this process has the address of queue {self.name!r}, so no request waits for this"
            return [ProduceError(problem, retriable=False)] * len(records)
        return [server.answer(record) for record in records]

    def shutdown(self) -> None:
        """Answer nothing more."""
        self._closed = True
