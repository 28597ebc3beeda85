"""What `backlog` and `create` of a connector return."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backlog:
    """How much is in a queue; None where the backend cannot tell.

    Attributes:
        waiting: Messages that can be delivered now. Of a log, where it is not known what consumers hold: all that the
            group has not settled.
        in_flight: Messages that consumers have.
        delayed: Messages that are held back until a later time.
        oldest: When the oldest of those that wait was enqueued, in seconds since the epoch.
    """

    waiting: int | None = None
    in_flight: int | None = None
    delayed: int | None = None
    oldest: float | None = None


@dataclass(frozen=True, slots=True)
class Created:
    """What `create` found or made.

    Attributes:
        existed: The queue was there already, and was left as it is.
        what: What the queue is in the backend, for a report: "topic 'orders', 12 partitions".
    """

    existed: bool
    what: str = ""
