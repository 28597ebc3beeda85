"""The contract of a connector whose client library blocks: that of `penstock.connectors`, without `async`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from penstock.errors import ProduceError
from penstock.message import BrowsedMessage, QueueMessage, Record
from penstock.probes import Probed
from penstock.results import Backlog, Created
from penstock.transacted import Transacted


class BlockingConsumer(ABC):
    """`Consumer` for a client library that blocks.

    `connect`, `consume`, `claim` and `shutdown` run on one thread of their own, always the same; `on_success`,
    `on_fail`, `extend`, `begin_call`, `end_call`, `lag` and `transact` on a second one, one call at a time, so that a
    settlement never waits for a `consume` that waits for messages. `browse`, `follow`, `backlog` and `probe` run on a
    third one. The three must be safe beside each other. `extend` goes before all calls that wait for the second thread.
    """

    lease: float | None = None
    keep_polling: ClassVar[bool] = False
    settles_at_once: ClassVar[bool] = False
    """True: `on_success` and `on_fail` only note something in memory, so the engine calls both on the event loop's
    thread, which saves two changes of thread for each batch. They must wait for nothing."""

    join_successes: ClassVar[bool] = False
    """True: calls of `on_success` that wait for their thread are made as one, with the messages of all; if it raises,
    each of them does. It pays where a call waits for one answer, however many messages it settles."""

    server: str = ""
    retained: int | None = None

    def __init__(self, name: str, options: Any) -> None:
        self.name = name
        self.options = options

    @abstractmethod
    def connect(self) -> None:
        """See `Consumer.connect`."""

    @abstractmethod
    def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """See `Consumer.consume`."""

    @abstractmethod
    def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        """See `Consumer.on_success`."""

    @abstractmethod
    def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int | None:
        """See `Consumer.on_fail`."""

    def extend(self, messages: Sequence[QueueMessage]) -> None:  # noqa: B027  (only leases need it)
        """See `Consumer.extend`."""

    def begin_call(self, messages: Sequence[QueueMessage]) -> None:  # noqa: B027
        """See `Consumer.begin_call`."""

    def end_call(self, messages: Sequence[QueueMessage]) -> None:  # noqa: B027
        """See `Consumer.end_call`."""

    def lag(self) -> int | None:
        """See `Consumer.lag`."""
        return None

    def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        """See `Consumer.browse`."""
        raise NotImplementedError(f"{type(self).__name__} declares 'browse' and has no browse()")

    def probe(self) -> Sequence[Probed]:
        """See `Consumer.probe`. Called on the thread of `browse`."""
        return ()

    def claim(self, positions: Sequence[str]) -> Sequence[QueueMessage]:
        """See `Consumer.claim`."""
        raise NotImplementedError(f"{type(self).__name__} declares 'claim' and has no claim()")

    def follow(self, timeout: float) -> Sequence[BrowsedMessage] | None:  # noqa: ARG002
        """See `Consumer.follow`."""
        return None

    def backlog(self) -> Backlog:
        """See `Consumer.backlog`."""
        raise NotImplementedError(f"{type(self).__name__} declares 'backlog' and has no backlog()")

    def seek(self, to: str | datetime) -> None:
        """See `Consumer.seek`."""
        raise NotImplementedError(f"{type(self).__name__} declares 'seek' and has no seek()")

    def transaction_problem(self, producer: BlockingProducer) -> str | None:  # noqa: ARG002
        """See `Consumer.transaction_problem`. Called on the event loop's thread, about blocking producers alone."""
        return f"{type(self).__name__} has no transactions"

    def transact(
        self, messages: Sequence[QueueMessage], outputs: Sequence[tuple[BlockingProducer, Sequence[Record]]]
    ) -> Transacted:
        """See `Consumer.transact`.

        A producer may be in `produce` on its own thread meanwhile, so store the records by a connection of the
        consumer's.
        """
        raise NotImplementedError(f"{type(self).__name__} declares 'transactions' and has no transact()")

    @abstractmethod
    def shutdown(self) -> None:
        """See `Consumer.shutdown`."""


class BlockingProducer(ABC):
    """`Producer` for a client library that blocks: all calls on one thread of its own, one at a time."""

    any_body: bool = True
    server: str = ""

    def __init__(self, name: str, options: Any) -> None:
        self.name = name
        self.options = options

    @abstractmethod
    def connect(self) -> None:
        """See `Producer.connect`."""

    @abstractmethod
    def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """See `Producer.produce`."""

    def probe(self) -> Sequence[Probed]:
        """See `Producer.probe`."""
        return ()

    def create(self) -> Created:
        """See `Producer.create`."""
        raise NotImplementedError(f"{type(self).__name__} declares 'create' and has no create()")

    @abstractmethod
    def shutdown(self) -> None:
        """See `Producer.shutdown`."""
