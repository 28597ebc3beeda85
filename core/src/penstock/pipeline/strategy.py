"""The two ways to deliver: what both promise, and what they return."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from penstock.errors import PenstockError
from penstock.events import Observer, Outcome, Settled
from penstock.message import QueueMessage, Record
from penstock.pipeline.batch import Batch
from penstock.pipeline.in_flight import InFlight
from penstock.pipeline.settlement import Failure
from penstock.pipeline.tasks import WatchedTasks
from penstock.queues.queue import InputQueue, OutputQueue


@dataclass(slots=True)
class Delivered:
    """What became of the messages of a batch in one try.

    Attributes:
        settled: These are settled for good.
        late: How many of them were lost to another consumer before.
        lost: These were lost before, so that nothing was stored for them.
        requeue: These must be made again from the start, without those that were lost.
        rest: The batch, without all of these, if it must be tried again.
    """

    settled: Sequence[QueueMessage] = ()
    late: int = 0
    lost: Sequence[QueueMessage] = ()
    requeue: Sequence[QueueMessage] = ()
    rest: Batch | None = None


@dataclass(slots=True)
class Stored:
    """What became of dead letters.

    Attributes:
        stored: Failures whose dead letter is in the queue and whose message is settled.
        late: How many of their messages were lost to another consumer before that.
        lost: Failures whose message was lost before, so that no dead letter was stored.
        refused: Failures whose dead letter the queue will never take, and why.
    """

    stored: Sequence[Failure] = ()
    late: int = 0
    lost: list[Failure] = field(default_factory=list)
    refused: list[tuple[Failure, PenstockError]] = field(default_factory=list)


class Strategy(ABC):
    """How outputs are stored and inputs settled.

    Args:
        app: The engine's name.
        source: The input queue.
        targets: Output queues by name.
        in_flight: Knows the connector's messages.
        observe: Told what is produced.
        tasks: Where calls to several output queues run.
    """

    def __init__(
        self,
        app: str,
        source: InputQueue,
        targets: Mapping[str, OutputQueue],
        in_flight: InFlight,
        observe: Observer,
        tasks: WatchedTasks,
    ) -> None:
        self._app = app
        self._source = source
        self._targets = targets
        self._in_flight = in_flight
        self._observe = observe
        self._tasks = tasks

    async def settle(self, messages: Sequence[QueueMessage]) -> int:
        """Settle messages, those that they supersede in the same call; returns how many were lost before."""
        older = self._in_flight.superseded_by(messages)
        late = await self._source.on_success(self._in_flight.for_settlement([*older, *messages]))
        return self._count_older("superseded", older, late, len(messages))

    async def requeue(self, messages: Sequence[QueueMessage], delay: float) -> int:
        """Requeue messages, those that they supersede with them; returns how many were lost before."""
        older = self._in_flight.superseded_by(messages)
        late = await self._source.on_fail(self._in_flight.for_settlement([*older, *messages]), delay)
        return self._count_older("requeued", older, late, len(messages))

    def _count_older(self, outcome: Outcome, older: Sequence[QueueMessage], late: int, newer: int) -> int:
        """Count the superseded ones; returns how many of the others were late, as far as can be told."""
        if older:
            self._observe(Settled(self._app, outcome, older, max(0, late - newer)))
        return min(late, newer)

    @abstractmethod
    async def deliver(self, batch: Batch) -> Delivered:
        """Store the outputs of a batch and settle its inputs. What is refused becomes a failure of the batch."""

    @abstractmethod
    async def store_dead_letters(
        self, queue: OutputQueue, records: Sequence[Record], failures: Sequence[Failure]
    ) -> Stored:
        """Store dead letters, one record a failure, and settle their messages."""
