"""RSMQ queues, seen by redis-py and PyRSMQ alone."""

from __future__ import annotations

import base64
import json
import secrets
import string
import time
from collections.abc import Sequence
from typing import Any

import redis
from rsmq import RedisSMQ

from tests.chaos.ledger import Letter, Sent
from tests.chaos.servers import Place

TIMEOUT = 2.0  # seconds after which the worker takes a server that says nothing for gone
ENVELOPE = b'{"penstock-envelope":'
_DIGITS = string.digits + string.ascii_lowercase


class RsmqBackend:
    """See `Backend`."""

    def __init__(self, place: Place, label: str) -> None:
        self._port = place.proxy.port
        self._label = label
        self._client = redis.Redis("127.0.0.1", place.direct, socket_timeout=10)

    def queue(self, name: str, lease: float, dead_letters: bool = False) -> dict[str, Any]:
        RedisSMQ(client=self._client, qname=self._name(name)).createQueue(vt=30, maxsize=-1).execute()
        return {
            "profile": "rsmq-dlq" if dead_letters else "rsmq",
            "value": self._name(name),
            "config": {"host": "127.0.0.1", "port": self._port, "vt": lease, "timeout": max(TIMEOUT, lease / 2)},
        }

    def _name(self, name: str) -> str:
        return f"{self._label}-{name}"

    def fill(self, name: str, messages: Sequence[Sent]) -> None:
        key = f"rsmq:{self._name(name)}"
        now = time.time_ns() // 1000
        with self._client.pipeline() as pipe:
            for place, sent in enumerate(messages):
                identity = f"{_base36(now + place)}{secrets.token_hex(11)}"
                pipe.zadd(key, {identity: now // 1000})
                pipe.hset(f"{key}:Q", identity, sent.body)
            pipe.hincrby(f"{key}:Q", "totalsent", len(messages))
            pipe.execute()

    def count(self, name: str) -> int | None:
        try:
            return int(self._client.zcard(f"rsmq:{self._name(name)}"))
        except redis.RedisError:
            return None

    def unsettled(self, name: str) -> int | None:
        return self.count(name)

    def outputs(self, name: str) -> Sequence[bytes]:
        key = f"rsmq:{self._name(name)}"
        fields = self._client.hgetall(f"{key}:Q")
        return [fields[identity] for identity in self._client.zrange(key, 0, -1)]

    def letters(self, name: str) -> Sequence[Letter]:
        return [opened(body) for body in self.outputs(name)]

    def close(self) -> None:
        self._client.close()


def _base36(number: int) -> str:
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return text


def opened(body: bytes) -> Letter:
    """A dead letter on a backend without headers is an envelope in JSON."""
    if not body.startswith(ENVELOPE):
        return Letter(body)
    envelope = json.loads(body)
    inner = envelope["body"]
    raw = inner.encode() if isinstance(inner, str) else base64.b64decode(inner["base64"])
    return Letter(raw, str(dict(envelope.get("headers", [])).get("penstock-error-stage", "?")))
