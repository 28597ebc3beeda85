"""What a connector can do, and the error for a configuration that asks for more."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, fields
from typing import Literal, get_args

from penstock.errors import CapabilityError

Ordering = Literal["none", "queue", "key"]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """A connector's promises. The conformance kit proves each in both directions.

    Attributes:
        headers: Headers come back byte for byte.
        keys: A message's key comes back byte for byte.
        ordering: "queue": messages come in the order they were produced; "key": in that order per key; "none".
        redelivery_count: `QueueMessage.attempts` grows with each delivery of a message and survives a crash.
        record_delay: A record can be held for a time before it is delivered.
        requeue_delay: A requeued message can be held for a time before it is delivered again.
        lease: A delivery is hidden for a time only and must be kept alive by `extend`.
        transactions: A producer and a consumer of the same backend can produce and settle together or not at all.
        replay: Messages stay after they are settled and can be read again.
        lag: `lag()` knows how many messages wait.
        tombstones: A null body is distinct from an empty one.
        groups: Several consumer groups each get every message.
        browse: `browse()` reads messages without changing anything.
        claim: `claim()` delivers chosen messages, whatever stands before them.
        backlog: `backlog()` counts messages without joining a group.
        create: `create()` makes the queue.
        seek: `seek()` lets a group read from another place on.
    """

    headers: bool = False
    keys: bool = False
    ordering: Ordering = "none"
    redelivery_count: bool = False
    record_delay: bool = False
    requeue_delay: bool = False
    lease: bool = False
    transactions: bool = False
    replay: bool = False
    lag: bool = False
    tombstones: bool = False
    groups: bool = False
    browse: bool = False
    claim: bool = False
    backlog: bool = False
    create: bool = False
    seek: bool = False
    delay: InitVar[bool] = False
    """Declares both delays: plugins wrote this before they were two."""

    def __post_init__(self, delay: bool) -> None:
        """Reject an unknown `ordering`; `has` would treat it as supported.

        Raises:
            ValueError: `ordering` is not one of its words.
        """
        if delay:
            object.__setattr__(self, "record_delay", True)
            object.__setattr__(self, "requeue_delay", True)
        if self.ordering not in get_args(Ordering):
            words = ", ".join(map(repr, get_args(Ordering)))
            raise ValueError(f"Capabilities: ordering is one of {words}; not {self.ordering!r}")

    def has(self, name: str) -> bool:
        """Whether the capability `name` is declared."""
        value = getattr(self, name)
        return value not in (False, "none")

    def require(self, name: str, *, queue: str, connector: str, wanted_by: str, remedy: str) -> None:
        """Reject a setting that this connector cannot support.

        Args:
            name: The capability, a field of this class.
            queue: The queue's name, with its place in the config where that is known.
            connector: The connector's name.
            wanted_by: The setting that needs it.
            remedy: What to do instead.

        Raises:
            CapabilityError: the capability is not declared.
        """
        if not self.has(name):
            raise CapabilityError(
                f"queue {queue}: connector {connector!r} has no {name!r}, needed by {wanted_by}; {remedy}"
            )


CAPABILITY_NAMES: tuple[str, ...] = tuple(field.name for field in fields(Capabilities))
