"""The contract of a connector: the page that every author reads.

A connector is a `Consumer`, a `Producer` or both. It moves lists, so that one thread hop, one round trip and one lock
serve hundreds of messages. It is made as `MyConsumer(name, options)`: `name` is the backend's name of the queue (the
config's `value`), `options` is what the connector's own options model made of the config's `config:` key. Making one
does no I/O.

Two forms, the same methods: derive from `Consumer` / `Producer` if your client library is asynchronous, from
`BlockingConsumer` / `BlockingProducer` if it blocks.

What to raise, from any method:

- `NotConnected`: the backend is away. The engine waits with backoff, calls `connect` again and goes on.
- `FatalConnectorError`: it will never work like this (wrong password, not authorised, fenced for good). The engine
  stops.
- any other error counts as a bug or a rejection: the engine stops and reports it, and every unsettled message is
  redelivered.

The engine adds its own name and the queue's to an error; a connector need not.

This module offers everything that a connector's code needs: the contracts, the messages, the errors, the options and
the capabilities. The names that need pydantic are loaded on first use.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from penstock.backoff import Backoff
from penstock.blocking import BlockingConsumer, BlockingProducer
from penstock.capabilities import Capabilities
from penstock.errors import ConfigError, ConnectorError, FatalConnectorError, NotConnected, ProduceError
from penstock.exports import lazy_exports
from penstock.message import BrowsedMessage, Headers, QueueMessage, Record
from penstock.probes import Probed
from penstock.results import Backlog, Created
from penstock.transacted import Refusal, Transacted

if TYPE_CHECKING:
    from penstock.options import ConnectorOptions, FromEnvironment, OptionProblem, Role
else:
    __path__: list[str] = []  # so that a distribution may offer modules below this one
    _OPTIONS = ("ConnectorOptions", "FromEnvironment", "OptionProblem", "Role")
    __getattr__ = lazy_exports(__name__, dict.fromkeys(_OPTIONS, "penstock.options"))

__all__ = [
    "Backlog",
    "Backoff",
    "BlockingConsumer",
    "BlockingProducer",
    "BrowsedMessage",
    "Capabilities",
    "ConfigError",
    "ConnectorError",
    "ConnectorOptions",
    "Consumer",
    "Created",
    "FatalConnectorError",
    "FromEnvironment",
    "Headers",
    "NotConnected",
    "OptionProblem",
    "Probed",
    "ProduceError",
    "Producer",
    "QueueMessage",
    "Record",
    "Refusal",
    "Role",
    "Transacted",
]


class Consumer(ABC):
    """Fetches messages and settles them. All methods are called on the event loop's thread.

    `connect` is called first. Then one `consume` runs at a time; `on_success`, `on_fail`, `extend` and `lag` may be
    called while it waits, and while others of them wait. `shutdown` is called last, once, when no other call runs, also
    after a `connect` that failed.

    `begin_call` and `end_call` are called like `extend`; a connector without `redelivery_count` needs neither.

    Every message that `consume` returned is settled at most once: by `on_success`, by `on_fail`, or by neither, if the
    worker dies or stops first. Messages are settled in any order.
    """

    lease: float | None = None
    """Seconds for which a delivery is hidden from others, known after `connect`; None: as long as the process lives.
    The engine calls `extend` for every message in flight three times in that span."""

    keep_polling: ClassVar[bool] = False
    """True: the client must be polled to stay a member of its group, so the engine goes on calling `consume(0, …)`
    while it has no room; such a call returns no messages."""

    server: str = ""
    """Where the server is, for people and without credentials: "PostgreSQL at db:5432". Known once the connector is
    made. When the server is lost, the log has one line for all queues of this text."""

    retained: int | None = None
    """Bytes that the server keeps because of messages that are not settled yet, as the log behind a replication slot;
    None if it keeps nothing, or nothing is known. The connector sets it now and then, for the metric."""

    def __init__(self, name: str, options: Any) -> None:
        self.name = name
        self.options = options

    @abstractmethod
    async def connect(self) -> None:
        """Connect, and check that the queue can be read.

        Called before anything else, and again after each `NotConnected`: then it restores the connection. Messages
        that were delivered before can still be settled, where the backend allows it.
        """

    @abstractmethod
    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """Wait for messages.

        Returns as soon as there is a message, with all that are available up to `max_messages`; an empty list after
        about `timeout` seconds without one. It is never cancelled, so a message that was fetched is not lost.
        """

    @abstractmethod
    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        """Settle messages for good: delete, acknowledge, mark for commit. They must not come back.

        Idempotent and fenced: a message whose lease or partition was lost meanwhile is not changed.

        Returns:
            How many were not changed, because another consumer owns them now; None means 0.
        """

    @abstractmethod
    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int | None:
        """Requeue messages: they are delivered again, to this consumer or another one, with `attempts` raised.

        Args:
            messages: Fenced as in `on_success`.
            delay: Seconds to hold them back; None or 0 is at once. A connector without the capability
                `requeue_delay` is only asked for None.

        Returns:
            How many were not changed, because another consumer owns them now; None means 0.
        """

    async def extend(self, messages: Sequence[QueueMessage]) -> None:  # noqa: B027  (only leases need it)
        """Keep the leases of these messages alive for another full span. Fenced as in `on_success`.

        It must not wait behind settlements, which may take longer than a lease; `penstock.turns` helps where both
        share a connection. A message that is settled while the call runs has not lost its lease.
        """

    async def begin_call(self, messages: Sequence[QueueMessage]) -> None:  # noqa: B027  (only what counts needs it)
        """Record that the function is about to be called with these. Fenced as in `on_success`.

        Called only for messages that came with an `abandoned` above 0. If the worker dies before the record is removed,
        the next delivery has an `abandoned` that is one higher. `on_success` removes the record, `on_fail` keeps it.
        """

    async def end_call(self, messages: Sequence[QueueMessage]) -> None:  # noqa: B027
        """Remove all records of `begin_call` for these, those of earlier deliveries too: the worker survived the call.

        Fenced as in `on_success`. Called before `on_fail`, and when settlement takes long."""

    async def lag(self) -> int | None:
        """How many messages wait to be consumed, those in flight not counted; None if the backend cannot tell."""
        return None

    async def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        """Read messages without changing anything. For the capability `browse`.

        Nothing is delivered: no lease, attempt, settlement, order, count or offset of a group changes, and no other
        consumer notices. Nothing is created either: a queue that does not exist is a `ConnectorError`.

        It works on a consumer that was never connected, as in a command that only looks, and beside all other calls of
        one that is; so it opens what it needs by itself, and `shutdown` closes that. One call at a time is under way.

        Every message that is not settled is seen: also those that are leased or delayed. A log shows all that it keeps.
        Messages come in a fixed order, by position. So `after` resumes: messages that arrived, moved or went meanwhile
        neither hide others nor repeat them. The message at `after` need not exist any more.

        Args:
            limit: How many messages are wanted at most, from 1.
            after: The `position` of the last message of an earlier answer, to go on behind it; None: from the start.

        Returns:
            Messages by position. There may be fewer than `limit`, because bodies are large; an empty list means that
            there are no more.

        Raises:
            NotConnected: the backend is away; the same call may be made again.
            ConnectorError: the queue does not exist, or `after` is not a position of this queue.
        """
        raise NotImplementedError(f"{type(self).__name__} declares 'browse' and has no browse()")

    async def probe(self) -> Sequence[Probed]:
        """Ask the server whether this queue can be used, for `penstock check --connect`. Changes nothing.

        As with `browse`, no group is joined and nothing is created or delivered, it works on a consumer that was never
        connected, and `shutdown` closes what it opened. It takes no longer than the connector's own timeout.

        Returns:
            An answer for each question that the server can be asked; by default none.

        Raises:
            NotConnected: the server is not reachable.
            FatalConnectorError: this user is not authorised, or the options cannot work.
            ConnectorError: the queue does not exist.
        """
        return ()

    async def claim(self, positions: Sequence[str]) -> Sequence[QueueMessage]:
        """Deliver the messages at these positions of `browse`, at most 500, as `consume` would, which does not run
        meanwhile. For the capability `claim`.

        A message that is gone, delayed, or with a consumer is left out. No other message changes.
        """
        raise NotImplementedError(f"{type(self).__name__} declares 'claim' and has no claim()")

    async def follow(self, timeout: float) -> Sequence[BrowsedMessage] | None:  # noqa: ARG002
        """Wait up to `timeout` seconds for messages that arrive, without changing anything, like `browse`.

        The first call begins at the end of the queue. None: read the pages of `browse` again and again instead, as is
        right where the positions of new messages are higher than all others.
        """
        return None

    async def backlog(self) -> Backlog:
        """Count the messages of the queue, for the capability `backlog`. Like `browse` it changes nothing, joins
        nothing, and works on a consumer that was never connected; it raises the same errors."""
        raise NotImplementedError(f"{type(self).__name__} declares 'backlog' and has no backlog()")

    async def seek(self, to: str | datetime) -> None:
        """Let the group of this queue go on at another place, for the capability `seek`.

        It works on a consumer that was never connected, while no consumer of the group is.

        Args:
            to: "beginning" (the oldest message that is kept), "end" (what arrives from now on), a time with a zone (the
                first message of that time or later), or the `position` of a message, which comes next then; where a
                queue has partitions, only the one of the position is moved.

        Raises:
            NotConnected: the backend is away; the same call may be made again.
            ConnectorError: the group has consumers, or `to` is not a position of this queue.
        """
        raise NotImplementedError(f"{type(self).__name__} declares 'seek' and has no seek()")

    def transaction_problem(self, producer: Producer) -> str | None:  # noqa: ARG002  (what derives from this, asks)
        """Why `transact` cannot store records of this producer, to continue "output queue …: "; None if it can.

        Asked at start, before `connect`, for each output of an engine with `delivery: exactly_once`. Does no I/O.
        """
        return f"{type(self).__name__} has no transactions"

    async def transact(
        self, messages: Sequence[QueueMessage], outputs: Sequence[tuple[Producer, Sequence[Record]]]
    ) -> Transacted:
        """Store records and settle the messages they were made of: together, or not at all. For the capability
        `transactions`.

        Several calls may be under way at once; a connector may make one transaction of them, or let one wait for others
        (a log whose earlier messages are not settled yet). It is never called with messages that another call has.

        Args:
            messages: To be settled for good, as by `on_success`. Fenced: if one of them was lost to another consumer,
                nothing happens, and it is named in the answer.
            outputs: Producers for which `transaction_problem` has none, and their records, in order. No reader sees
                a record before it is committed. `Producer.produce` is not called for them.

        Returns:
            An empty `Transacted` if it is committed durably.

        Raises:
            NotConnected: it may or may not have been committed. The same call is made again after `connect`; if it had
                been committed, its messages are now `lost`, which stores their records once and no more.
        """
        raise NotImplementedError(f"{type(self).__name__} declares 'transactions' and has no transact()")

    @abstractmethod
    async def shutdown(self) -> None:
        """Make settlements durable, requeue what is unsettled, leave the group, close. Bounded: about 10 s."""


class Producer(ABC):
    """Sends records. All methods are called on the event loop's thread.

    `connect` comes first, then any number of `produce` calls, several at once, then `shutdown`, once, when none is
    under way.
    """

    any_body: bool = True
    """False: only bodies of a certain form can be stored, such as rows of a table. Then the queue is rejected as a
    dead-letter queue, which must take whatever came. Known once the connector is made."""

    server: str = ""
    """See `Consumer.server`."""

    def __init__(self, name: str, options: Any) -> None:
        self.name = name
        self.options = options

    @abstractmethod
    async def connect(self) -> None:
        """Connect, and check that the queue can be written. Called again after each `NotConnected`."""

    @abstractmethod
    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """Send records and wait until the backend has confirmed each, or rejected it.

        Records of one call are stored in their order; a call that began earlier comes first, where the backend has
        order.

        Returns:
            One entry a record, in the same order: None if it is stored durably, else why not.

        Raises:
            NotConnected: none, or an unknown part, of the records is stored; all of them will be sent again.
        """

    async def probe(self) -> Sequence[Probed]:
        """See `Consumer.probe`; whether this queue can be written."""
        return ()

    async def create(self) -> Created:
        """Make the queue in the backend unless it is there; for the capability `create`. What is there stays as it is.

        It works on a producer that was never connected: it opens what it needs, and closes that.

        Raises:
            NotConnected: the backend is away; the same call may be made again.
            ConnectorError: the backend refuses.
        """
        raise NotImplementedError(f"{type(self).__name__} declares 'create' and has no create()")

    @abstractmethod
    async def shutdown(self) -> None:
        """Flush and close. Bounded: at most about 10 s. `produce` afterwards raises `ConnectorError`."""
