"""Record batches made by hand and sent over a socket: what no client would send, but a log may hold.

The format is that of Kafka's protocol: record batches with magic 2, uncompressed; Produce in version 7.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence

PRODUCE, VERSION = 0, 7
TIMEOUT = 30.0  # seconds
NO_LEADER_YET = (3, 5, 6)  # errors of a partition that was made a moment ago
_CASTAGNOLI = 0x82F63B78


def record(body: bytes, index: int = 0, headers: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """One record of a batch, with its place in it from 0; names of headers may be any bytes."""
    pairs = b"".join(_varint(len(name)) + name + _varint(len(value)) + value for name, value in headers)
    rest = b"\0" + _varint(0) + _varint(index) + _varint(-1) + _varint(len(body)) + body + _varint(len(headers)) + pairs
    return _varint(len(rest)) + rest


def batch(records: Sequence[bytes], damage: int = 0) -> bytes:
    """A batch of records; `damage` is added to its checksum."""
    now = int(time.time() * 1000)
    body = struct.pack(">hiqqqhii", 0, len(records) - 1, now, now, -1, -1, -1, len(records)) + b"".join(records)
    checked = struct.pack(">I", (_crc32c(body) + damage) & 0xFFFFFFFF) + body
    return struct.pack(">qiib", 0, len(checked) + 5, -1, 2) + checked


def produce(bootstrap: str, topic: str, sent: bytes, partition: int = 0) -> None:
    """Send a batch to a broker that leads the partition.

    Raises:
        RuntimeError: it was refused.
    """
    name = topic.encode()
    head = struct.pack(">hhih", PRODUCE, VERSION, 1, -1) + struct.pack(">hhi", -1, -1, int(TIMEOUT * 1000))
    place = struct.pack(">ih", 1, len(name)) + name + struct.pack(">iii", 1, partition, len(sent))
    request = head + place + sent
    deadline = time.monotonic() + TIMEOUT
    while (error := _answer(bootstrap, request, name)) in NO_LEADER_YET and time.monotonic() < deadline:
        time.sleep(0.1)
    if error:
        raise RuntimeError(f"the broker refused the batch: error {error}")


def _answer(bootstrap: str, request: bytes, name: bytes) -> int:
    host, _, port = bootstrap.split(",")[0].rpartition(":")
    with socket.create_connection((host, int(port)), TIMEOUT) as connection, connection.makefile("rb") as answers:
        connection.sendall(struct.pack(">i", len(request)) + request)
        answer = answers.read(struct.unpack(">i", answers.read(4))[0])
    error: int = struct.unpack_from(">h", answer, 4 + 4 + 2 + len(name) + 4 + 4)[0]
    return error


def _varint(number: int) -> bytes:
    """A number as records hold it: signs folded in, seven bits a byte, the lowest first."""
    left = (number << 1) ^ (number >> 63)
    found = bytearray()
    while left > 0x7F:
        found.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*found, left])


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_CASTAGNOLI if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
