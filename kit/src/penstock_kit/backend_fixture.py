"""What the kit needs to know of one backend: how a queue is configured, and how its server is stopped and started."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from penstock.message import Record

if TYPE_CHECKING:
    from penstock_kit.server_process import ServerProcess

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
        "create": (),
    }
)
"""What a test may need of a backend fixture → the methods (all of them) or attributes (one of them) that provide it.
`BackendFixture.cannot` describes each."""


SERVED = frozenset({"restart", "stop", "pause"})
"""What a `ServerProcess` provides."""


class BackendFixture(ABC):
    """How the kit reaches a backend. Return one from your suite's fixture `backend`.

    Only `config` must be written. With the other methods the kit injects outages. If your backend does not allow one,
    name it in `cannot` with the reason, which the capability matrix then shows. A method that is neither written nor
    excused fails its tests, so that none can be forgotten.

    Attributes:
        server: Your server, if a `ServerProcess` runs it: then the kit stops, starts, restarts and pauses that.
        timeout: Seconds that the kit waits for anything on this backend, also after a crash: a redelivery, a
            reconnection, an answer. A correct connector needs far less; a broken one fails its test after this time.
        idle_timeout: Seconds without a message after which the kit assumes that no more will come.
        largest_body: Bytes of the largest body that the kit sends. Lower it only if the backend's limit is lower.
        short_lease: Options (as under `config:`) that give a lease of about a second; for the capability `lease`.
        frozen_after: Seconds after which other workers get the messages of a worker that is alive but does nothing,
            with the same options. None: when the lease ends.
        settled_late: How many settled messages may come again after a kill, because settlements are sent in intervals
            (rate x interval). 0 where each settlement is durable when `on_success` returns.
        at_most_once: Whether nothing is stored: a message goes to consumers that are there, and ends with them. Then
            the kit opens a consumer before it sends, and promises of what outlives one are not tested.
        holds_up_keys: Whether the younger messages of a key wait while one of it is in flight, as in a message group.
            Then messages that the kit holds together have a key each, and where it tests their order, it settles them
            as they come.
        cannot: What your backend does not allow, and why:
            "restart", "stop", "pause": the methods of these names;
            "nowhere": the method `nowhere`, an address at which nothing listens;
            "refuse": the method `refusing`, a record that the backend never accepts;
            "lease": a lease of about a second;
            "freeze": a live worker keeps its messages, however long it does nothing;
            "lag": delayed messages are not counted, so a drain does not wait for them;
            "processes": the queue cannot be reached from another process; "create": this server creates no queues.
            "FACILITY:test_…", such as "restart:test_attempts_survive_a_restart_of_the_backend", excuses one test only.
    """

    server: ServerProcess | None = None
    timeout: ClassVar[float] = 10.0
    idle_timeout: ClassVar[float] = 0.3
    largest_body: ClassVar[int] = 1_000_000
    short_lease: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    frozen_after: ClassVar[float | None] = None
    settled_late: ClassVar[int] = 0
    at_most_once: ClassVar[bool] = False
    holds_up_keys: ClassVar[bool] = False
    cannot: ClassVar[Mapping[str, str]] = MappingProxyType({})

    @abstractmethod
    def config(self, queue: str, group: str | None = None, **over: Any) -> dict[str, Any]:
        """The settings of a queue, as a configuration has them, with the connector by its name.

        Args:
            queue: A name that no other test uses: letters, digits and '-', at most 60 characters.
            group: The consumer group, for a backend with groups. None is one group that all share.
            **over: Further options, to merge into those under `config:`.

        Returns:
            `{"connector": "acme", "value": queue, "config": {"host": …, **over}}`. Plain data, because
            it is sent to other processes.
        """

    def create(self, queue: str) -> None:  # noqa: B027  (most backends need nothing)
        """Create a queue, if connecting does not create it. Called once for each queue, before its first use.

        If the backend orders by key, give the queue at least two partitions: with one, ordering is not proved.
        """

    def restart_backend(self) -> None:
        """Restart the server with all data that it has confirmed. Return when it answers."""
        self._own_server().restart()

    def stop_backend(self) -> None:
        """Stop the server, or cut its connections, so that nothing answers. Confirmed data must stay."""
        self._own_server().kill()

    def start_backend(self) -> None:
        """Undo `stop_backend`. Return when the server answers."""
        self._own_server().start()

    def pause_backend(self) -> None:
        """Let the server stop answering while its connections stay open (SIGSTOP)."""
        self._own_server().pause()

    def resume_backend(self) -> None:
        """Undo `pause_backend`."""
        self._own_server().resume()

    def _own_server(self) -> ServerProcess:
        if self.server is None:
            raise NotImplementedError
        return self.server

    def nowhere(self, queue: str) -> dict[str, Any]:
        """The settings of a queue at an address where nothing listens."""
        raise NotImplementedError

    def refusing(self, queue: str) -> tuple[dict[str, Any], Record]:
        """The settings of a queue, and a record that it never accepts, such as one that is too large."""
        raise NotImplementedError

    def offers(self, facility: str) -> bool:
        """Whether this fixture provides `facility`, a key of `FACILITIES`."""
        if facility in self.cannot:
            return False
        names = FACILITIES[facility]
        if methods := [name for name in names if callable(getattr(BackendFixture, name))]:
            written = all(getattr(type(self), name) is not getattr(BackendFixture, name) for name in methods)
            return written or (facility in SERVED and self.server is not None)
        return not names or any(getattr(self, name) for name in names)
