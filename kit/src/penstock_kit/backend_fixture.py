"""What an author tells the kit about one backend: how a queue is configured, and what can be done to the server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from penstock.message import Record

FACILITIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "restart": ("restart_backend",),
        "stop": ("stop_backend", "start_backend"),
        "pause": ("pause_backend", "resume_backend"),
        "nowhere": ("nowhere",),
        "refuse": ("refusing",),
        "lease": ("short_lease",),
        "freeze": ("short_lease", "frozen_after"),
        "lag": (),
        "processes": (),
    }
)
"""What a test may need of a backend fixture, and what brings it: all of the methods, or one of the attributes. See
`BackendFixture.cannot` for each."""


class BackendFixture(ABC):
    """How the kit reaches a backend. Return one from your suite's fixture `backend`.

    Only `config` must be written. The other methods let the kit do to the backend what the world does to it; one that
    you cannot offer is named in `cannot` with the reason, and the reason stands in the capability matrix. A method that
    is neither written nor excused is a failed test, so that nothing is left out by forgetting it.

    Attributes:
        timeout: Seconds within which whatever must happen does happen on this backend, also after a crash: a
            redelivery, a reconnection, an answer. A correct connector waits for none of it, a broken one for all.
        idle_timeout: Seconds without a message after which the kit believes that none will come.
        largest_body: Bytes of the largest body that the kit sends; smaller only if the backend takes no more.
        short_lease: Options (as under `config:`) that give a lease of about a second; for the capability `lease`.
        frozen_after: Seconds after which others get the messages of a worker that is alive and does nothing, by the
            same options; None: as the lease says.
        settled_late: How many settled messages may come again after a kill, because the backend learns of settlements
            in intervals (rate x interval). 0 where each settlement is durable when `on_success` returns.
        cannot: What cannot be offered, and why:
            "restart", "stop", "pause": the methods of these names;
            "nowhere": an address at which nothing listens;
            "refuse": a record that the backend never takes;
            "lease": a lease of about a second;
            "freeze": messages never leave a worker that lives, however long it does nothing;
            "lag": messages that a delay holds back are not counted; a drain does not wait for them;
            "processes": the queue cannot be reached from another process.
    """

    timeout: ClassVar[float] = 10.0
    idle_timeout: ClassVar[float] = 0.3
    largest_body: ClassVar[int] = 1_000_000
    short_lease: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    frozen_after: ClassVar[float | None] = None
    settled_late: ClassVar[int] = 0
    cannot: ClassVar[Mapping[str, str]] = MappingProxyType({})

    @abstractmethod
    def config(self, queue: str, group: str | None = None, **over: Any) -> dict[str, Any]:
        """The settings of a queue, as they stand in a configuration; the connector by its name.

        Args:
            queue: A name that no other test uses: letters, digits and '-', at most 60 of them.
            group: The consumer group, where the backend has any; None is one and the same for all.
            **over: Further options, to be merged into those under `config:`.

        Returns:
            `{"connector": "acme", "value": queue, "config": {"host": …, **over}}`. Plain data, so that another process
            can be given it.
        """

    def create(self, queue: str) -> None:  # noqa: B027  (most backends need nothing)
        """Create a queue, where that is not done by connecting to it. Called once a queue, before its first use.

        Where the backend orders by key, give the queue at least two partitions: one would prove nothing.
        """

    def restart_backend(self) -> None:
        """Restart the server with all that it has confirmed; return when it answers."""
        raise NotImplementedError

    def stop_backend(self) -> None:
        """End the server, or cut it off, so that nothing answers; what it has confirmed stays."""
        raise NotImplementedError

    def start_backend(self) -> None:
        """Undo `stop_backend`; return when it answers."""
        raise NotImplementedError

    def pause_backend(self) -> None:
        """Let the server answer nothing, while connections stay (SIGSTOP)."""
        raise NotImplementedError

    def resume_backend(self) -> None:
        """Undo `pause_backend`."""
        raise NotImplementedError

    def nowhere(self, queue: str) -> dict[str, Any]:
        """The settings of a queue on a server that is not there: an address at which nothing listens."""
        raise NotImplementedError

    def refusing(self, queue: str) -> tuple[dict[str, Any], Record]:
        """The settings of a queue, and a record that it will never take; most often one that is too large."""
        raise NotImplementedError

    def offers(self, facility: str) -> bool:
        """Whether this backend fixture brings what `facility` needs; see `FACILITIES`."""
        if facility in self.cannot:
            return False
        names = FACILITIES[facility]
        if methods := [name for name in names if callable(getattr(BackendFixture, name))]:
            return all(getattr(type(self), name) is not getattr(BackendFixture, name) for name in methods)
        return not names or any(getattr(self, name) for name in names)
