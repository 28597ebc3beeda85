"""What both sides do with a stream: its other keys, its group, and how it is kept short."""

from __future__ import annotations

import logging
from contextlib import suppress

from redis.exceptions import ResponseError

from penstock.errors import ConnectorError, NotConnected
from penstock_redis.connection import MAX_BYTES, Connection, Script, beside
from penstock_redis.options import StreamOptions

TRIM = Script.load("streams/trim")

log = logging.getLogger("penstock.redis")


def stream_keys(name: str, group: str) -> list[str]:
    """The keys beside a stream, in the same slot of a cluster: what was requeued, leases, calls that never ended."""
    return beside(name, *(f"{group}:{kind}" for kind in ("requeued", "leases", "calls")))


async def join_group(redis: Connection, options: StreamOptions) -> bool:
    """Make the group, and the stream with it, if they are missing; returns whether the stream was there.

    Raises:
        NotConnected: they are missing, and `create` is false.
    """
    existed = bool(await redis.command("EXISTS", redis.name))
    if not existed and not options.create:
        raise NotConnected(f"Redis at {options.address}: there is no stream {redis.name!r}, and `create` is false")
    # Asked first: a server without room refuses to create, also what is there, and is to be emptied all the same.
    groups = await redis.command("XINFO", "GROUPS", redis.name) if existed else []
    if any(group[1] == options.group.encode() for group in groups):
        return True
    try:
        await redis.command("XGROUP", "CREATE", redis.name, options.group, options.start, "MKSTREAM")
    except ConnectorError as error:
        if not isinstance(error.__cause__, ResponseError) or "BUSYGROUP" not in str(error.__cause__):
            raise
    return existed


async def trim(redis: Connection, options: StreamOptions) -> None:
    """Keep the stream at `max_length`, except for what a group has not acknowledged."""
    if options.max_length is None:
        return
    with suppress(ConnectorError):  # what was stored or settled before is; the next call trims
        length, group = await redis.run(TRIM, options.max_length, MAX_BYTES)
        if group:
            log.info(
                "queue %s: %d entries, more than max_length: group %s has not acknowledged the oldest of them",
                redis.name, length, group.decode(),
            )  # fmt: skip
