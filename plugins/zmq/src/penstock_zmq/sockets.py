"""Sockets with the settings that lose least, what a message looks like on the wire, and what errors mean."""

from __future__ import annotations

import errno
import select
from collections.abc import Sequence

import zmq

from penstock.client_errors import ErrorTable
from penstock.errors import ConnectorError, DecodeError, FatalConnectorError, NotConnected
from penstock.headers import dump_headers, load_headers
from penstock.message import Headers, Record
from penstock.options import Role
from penstock_zmq.options import ZmqOptions

HAS_KEY, HAS_NO_BODY = 1, 2

Content = tuple[bytes | None, bytes | None, Headers]
"""Body, key and headers."""

_AWAY = ("EADDRINUSE", "EADDRNOTAVAIL", "EAGAIN", "EHOSTUNREACH", "ENOENT", "EMFILE")
_WRONG = ("EINVAL", "EPROTONOSUPPORT", "ENODEV", "EACCES", "ENOTSUP")


def _describe(error: BaseException) -> tuple[str, str]:
    number = error.errno if isinstance(error, zmq.ZMQError) else None
    return str(error), errno.errorcode.get(number or 0, "")


ERRORS = ErrorTable(
    "ZeroMQ",
    {zmq.Again: NotConnected, zmq.ZMQError: ConnectorError},
    (zmq.ZMQBaseError,),
    {**dict.fromkeys(_AWAY, NotConnected), **dict.fromkeys(_WRONG, FatalConnectorError)},
    {
        "EADDRINUSE": "another process has bound it; stop that one, or let this one connect (`bind: false`)",
        "EADDRNOTAVAIL": "no interface of this machine has this address; correct `value` or `host`",
        "ENODEV": "no interface of this machine has this address; correct `value` or `host`",
        "EINVAL": "correct `value`",
        "EACCES": "this user may not bind it; take a port above 1023",
    },
    _describe,
)


class Endpoint:
    """A socket with a context of its own, so that nothing is left when it is closed. Used on one thread at a time.

    Args:
        kind: The socket's type.
        name: The queue's `value`.
        options: Its options.
        role: What it is opened for.

    Raises:
        NotConnected: the address is taken.
        FatalConnectorError: it never can be had.
    """

    def __init__(self, kind: int, name: str, options: ZmqOptions, role: Role) -> None:
        self.address = options.address(name)
        self._linger = int(options.linger * 1000)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(kind)
        try:
            with ERRORS.translating(self.address):
                self._configure(kind, options, binds=options.binds(role))
        except BaseException:
            self._linger = 0
            self.close()
            raise
        self._waiting = select.poll()
        self._waiting.register(int(self.socket.getsockopt(zmq.FD)), select.POLLIN)

    def _configure(self, kind: int, options: ZmqOptions, *, binds: bool) -> None:
        socket = self.socket
        socket.set_hwm(options.high_water_mark)
        socket.setsockopt(zmq.MAXMSGSIZE, options.max_message_bytes)
        socket.setsockopt(zmq.IMMEDIATE, 1)  # nothing is queued for a peer that may never be there
        socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
        if options.heartbeat:
            socket.setsockopt(zmq.HEARTBEAT_IVL, int(options.heartbeat * 1000))
            socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, int(options.heartbeat * 3000))
        if kind == zmq.ROUTER:
            socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # else an answer to a client that is gone is dropped in silence
        if options.curve_secret_key is not None:
            socket.curve_secretkey = options.curve_secret_key.get_secret_value().encode()
            if binds:
                socket.curve_server = True
            else:
                socket.curve_publickey = (options.curve_public_key or "").encode()
                socket.curve_serverkey = (options.curve_server_key or "").encode()
        if binds:
            socket.bind(self.address)
        else:
            socket.connect(self.address)

    def wait(self, seconds: float) -> None:
        """Wait until something may have come, without touching the socket, which another thread may use meanwhile."""
        self._waiting.poll(max(0, int(seconds * 1000)))

    def receive(self) -> list[bytes] | None:
        """The frames of a message that is there; None if none is."""
        try:
            return self.socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None

    def close(self) -> None:
        """Close, when what was sent has left the process or the linger time has ended."""
        self._context.destroy(self._linger)


def dump(record: Record, *, plain: bool = True) -> list[bytes]:
    """The frames of a record: its body alone, if it has nothing else and that is allowed; else also key and headers."""
    if plain and record.key is None and not record.headers and record.message is not None:
        return [record.message]
    flags = (HAS_KEY if record.key is not None else 0) | (HAS_NO_BODY if record.message is None else 0)
    headers = (dump_headers(record.headers) or "").encode()
    return [record.message or b"", bytes([flags]) + (record.key or b""), headers]


def load(frames: Sequence[bytes]) -> Content:
    """Body, key and headers of the frames that `dump` made, or of one frame that another program sent.

    Raises:
        DecodeError: another program sent other frames.
    """
    if len(frames) == 1:
        return frames[0], None, ()
    if len(frames) != 3 or not frames[1]:
        raise DecodeError(f"a message has one frame, or three as penstock-zmq writes them; this one has {len(frames)}")
    flags, key = frames[1][0], frames[1][1:]
    try:
        headers = load_headers(frames[2].decode() or None)
    except UnicodeDecodeError as error:
        raise DecodeError("the headers of this message are not UTF-8") from error
    return None if flags & HAS_NO_BODY else frames[0], key if flags & HAS_KEY else None, headers
