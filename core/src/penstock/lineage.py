"""The way of a message through engines: who had it, from which queue, when; in one header of bounded size.

    engine: {lineage: 20}

    @app.stream_app
    def invoice(order: Order, msg_ctx: QueueMessage) -> Output:
        for hop, seconds in latencies(msg_ctx):
            print(hop.app, seconds)

An engine with `lineage` adds itself to the header of each output, and keeps the last hops. An output of a whole batch
has the hops of all its inputs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from penstock.message import HEADER_PREFIX, Headers, QueueMessage

HEADER = HEADER_PREFIX + "lineage"
"""JSON: a list of `[app, queue, position, time]`, the oldest first; times are in seconds since the epoch."""


class Hop(NamedTuple):
    """One engine that had the message.

    Attributes:
        app: The engine's `app_name`.
        queue: The backend's name of its input queue.
        position: Where the message, or one that it was made of, stood there.
        time: When the engine had called its function, in seconds since the epoch.
    """

    app: str
    queue: str
    position: str
    time: float


def read(message: QueueMessage | Headers) -> list[Hop]:
    """The hops of a message, or of its headers, the oldest first; none if it has no such header, or another's."""
    headers = message.headers if isinstance(message, QueueMessage) else message
    value = next((value for name, value in headers if name.lower() == HEADER and value), None)
    if value is None:
        return []
    try:
        return [Hop(str(app), str(queue), str(place), float(at)) for app, queue, place, at in json.loads(value)]
    except (ValueError, TypeError):  # a header of this name that is not ours
        return []


def latencies(message: QueueMessage | Headers, to: float | None = None) -> list[tuple[Hop | None, float]]:
    """How long a message took to each of its hops.

    Args:
        message: A message, or its headers.
        to: The time of the engine that has it now, in seconds since the epoch; by default now.

    Returns:
        Each hop but the first, with the seconds since the one before; and last None, the engine that has the message
        now. Nothing for a message without hops. The sum is the time since the first hop.
    """
    hops = sorted(read(message), key=lambda hop: hop.time)
    if not hops:
        return []
    now = time.time() if to is None else to
    found: list[tuple[Hop | None, float]] = [(hop, hop.time - before.time) for before, hop in pairwise(hops)]
    return [*found, (None, now - hops[-1].time)]


class Lineage:
    """Adds an engine to the hops of its outputs.

    Args:
        app: The engine's name.
        queue: The backend's name of its input queue.
        most: How many hops are kept.
    """

    def __init__(self, app: str, queue: str, most: int) -> None:
        self._app = app
        self._queue = queue
        self._most = most

    def header(self, messages: Sequence[QueueMessage]) -> tuple[str, bytes]:
        """The header of an output that was made of these."""
        own = Hop(self._app, self._queue, messages[0].position, round(time.time(), 3))
        # Messages that were made of one have hops in common.
        before = dict.fromkeys(hop for message in messages for hop in read(message))
        hops = [*sorted(before, key=lambda hop: hop.time), own]
        return HEADER, dump(hops[-self._most :])


def dump(hops: Iterable[Hop]) -> bytes:
    """The value of the header."""
    return json.dumps([list(hop) for hop in hops], separators=(",", ":")).encode()
