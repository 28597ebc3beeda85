"""The names and ids that all RSMQ clients share.

For the namespace `rsmq` and the queue `orders`:

- `rsmq:QUEUES`, a set: the names of all queues;
- `rsmq:orders`, a sorted set: each message's id with the time, in ms, from which it is visible;
- `rsmq:orders:Q`, a hash: `vt` and `delay` (s), `maxsize` (bytes, -1 none), `created`, `modified`, `totalsent`,
  `totalrecv`, and for each message `ID` (its body), `ID:rc` (how often it was received) and `ID:fr` (when first, ms).

Penstock alone has `rsmq:orders:penstock`, a hash that is most often not there: `ID:ok` is the receive count at which
the message was requeued, `ID:calls` how many calls were recorded that never ended. It expires, because other clients
delete messages without it.

An id is the server's time in µs to the base of 36, then 22 random characters.
"""

from __future__ import annotations

import random
import re
import string
from dataclasses import dataclass

_LETTERS = string.ascii_letters + string.digits
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_LONGEST_NAME = 64  # PyRSMQ's limit
_RANDOM_PART = 22


@dataclass(frozen=True, slots=True)
class QueueKeys:
    """Where a queue lives in Redis.

    Args:
        ns: The namespace; on a Redis Cluster a hash tag ("{rsmq}"), so that a queue's keys share a slot.
        name: The queue's name.
    """

    ns: str
    name: str

    @property
    def names(self) -> str:
        """The set of the names of all queues."""
        return f"{self.ns}:QUEUES" if self.ns else "QUEUES"

    @property
    def messages(self) -> str:
        """The sorted set of ids."""
        return f"{self.ns}:{self.name}" if self.ns else self.name

    @property
    def attributes(self) -> str:
        """The hash of attributes, counters and bodies."""
        return f"{self.messages}:Q"

    @property
    def marks(self) -> str:
        """Penstock's own hash: what was requeued in order, and which calls never ended."""
        return f"{self.messages}:penstock"


def name_problem(name: str) -> str | None:
    """Why `name` cannot be a queue's name, or None."""
    if not name:
        return "a queue's name is empty"
    if len(name) > _LONGEST_NAME:
        return f"the queue's name {name!r} has {len(name)} characters; RSMQ allows {_LONGEST_NAME}"
    if not _NAME.fullmatch(name):
        return f"the queue's name {name!r} has other characters than letters, digits, '.', '_' and '-'"
    return None


def random_part() -> str:
    """The part of an id that keeps senders of the same microsecond apart."""
    return "".join(random.choices(_LETTERS, k=_RANDOM_PART))


def sent_at(message_id: str) -> float | None:
    """When this message was sent, in seconds since the epoch by the server's clock; None for an id of another kind."""
    try:
        return int(message_id[:-_RANDOM_PART], 36) / 1_000_000
    except ValueError:
        return None
