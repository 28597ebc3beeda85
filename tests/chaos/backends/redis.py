"""Redis Streams and lists, seen by redis-py alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis

from tests.chaos.backends.rsmq import opened
from tests.chaos.ledger import Letter, Sent
from tests.chaos.servers import Place

GROUP = "penstock"


class StreamsBackend:
    """See `Backend`."""

    profile = "redis-streams"

    def __init__(self, place: Place, label: str) -> None:
        self._port = place.proxy.port
        self._label = label
        self._client = redis.Redis("127.0.0.1", place.direct, socket_timeout=10)

    def queue(self, name: str, lease: float, dead_letters: bool = False) -> dict[str, Any]:
        # Only workers are killed here, so a server that is slow on a busy machine is not one that is away.
        where = {"host": "127.0.0.1", "port": self._port, "timeout": 30.0}
        profile = f"{self.profile}-dlq" if dead_letters else self.profile
        return {"profile": profile, "value": self._name(name), "config": {**where, "lease": lease}}

    def _name(self, name: str) -> str:
        return f"{self._label}-{name}"

    def fill(self, name: str, messages: Sequence[Sent]) -> None:
        with self._client.pipeline(transaction=False) as pipe:
            for sent in messages:
                pipe.xadd(self._name(name), {"body": sent.body})
            pipe.execute()

    def count(self, name: str) -> int | None:
        try:
            return int(self._client.xlen(self._name(name)))
        except redis.RedisError:
            return None

    def unsettled(self, name: str) -> int | None:
        key = self._name(name)
        try:
            groups = self._client.xinfo_groups(key)
            if not groups:
                return self.count(name)
            waiting = groups[0].get("lag")
            if waiting is None:  # Redis 6.2, which does not count
                waiting = len(self._client.xrange(key, min=b"(" + groups[0]["last-delivered-id"]))
            return int(waiting) + int(groups[0]["pending"])
        except redis.RedisError:
            return None

    def outputs(self, name: str) -> Sequence[bytes]:
        return [fields[b"body"] for _, fields in self._client.xrange(self._name(name))]

    def letters(self, name: str) -> Sequence[Letter]:
        entries = self._client.xrange(self._name(name))
        return [Letter(fields[b"body"], fields.get(b"h:penstock-error-stage", b"?").decode()) for _, fields in entries]

    def close(self) -> None:
        self._client.close()


class ListsBackend(StreamsBackend):
    """See `Backend`."""

    profile = "redis-lists"

    def fill(self, name: str, messages: Sequence[Sent]) -> None:
        self._client.rpush(self._name(name), *(sent.body for sent in messages))

    def count(self, name: str) -> int | None:
        try:
            return int(self._client.llen(self._name(name)))
        except redis.RedisError:
            return None

    def unsettled(self, name: str) -> int | None:
        key = self._name(name)
        try:
            beside = [self._client.zcard(f"{{{key}}}:penstock:{kind}") for kind in ("leases", "back", "delayed")]
            return int(self._client.llen(key)) + sum(map(int, beside))
        except redis.RedisError:
            return None

    def outputs(self, name: str) -> Sequence[bytes]:
        return list(self._client.lrange(self._name(name), 0, -1))

    def letters(self, name: str) -> Sequence[Letter]:
        return [opened(body) for body in self.outputs(name)]
