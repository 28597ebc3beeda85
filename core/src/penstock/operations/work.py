"""Works off chosen messages of a queue, batch by batch, and counts what becomes of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from dataclasses import dataclass, field
from time import monotonic

from penstock.message import QueueMessage
from penstock.operations.letters import Death
from penstock.operations.taking import Taking
from penstock.queues.queue import InputQueue

BATCH = 250  # letters that are sent, confirmed and settled together; after a crash at most these are sent twice
GONE = "gone, delayed, or with another consumer"
NOT_DELIVERED = (
    "not delivered: gone, with another consumer, or held back until letters before them are settled; choose those too"
)


@dataclass(slots=True)
class Progress:
    """How far a piece of work is.

    Attributes:
        total: Letters that were chosen.
        done: Letters that are done with.
        left: Why others are left where they are, and how many for each reason.
        late: Letters that were lost to another consumer before they were settled, so they may come twice.
        passed: Letters that were not chosen and were leased all the same, since the backend can only be consumed from
            its start.
        disordered: The order is not that of their death, because a letter that did not come was passed over.
    """

    total: int
    done: int = 0
    left: Counter[str] = field(default_factory=Counter)
    late: int = 0
    passed: int = 0
    disordered: bool = False


Report = Callable[[Progress], None]
Handle = Callable[[Sequence[QueueMessage]], Awaitable[None]]


class Speed:
    """How many letters are taken at once, and when.

    Args:
        rate: Letters a second; 0 is as many as possible.
        stopped: Ends a wait.
    """

    def __init__(self, rate: float, stopped: asyncio.Event) -> None:
        self._rate = rate
        self._stopped = stopped
        self._next = monotonic()

    def batch(self) -> int:
        """How many letters at most are taken at once: no more than a quarter of a second may have."""
        return max(1, min(BATCH, int(self._rate / 4))) if self._rate else BATCH

    async def wait(self, taken: int) -> None:
        """Wait for as long as the letters just taken may last."""
        if not self._rate:
            return
        self._next = max(self._next, monotonic() - 1) + taken / self._rate
        try:
            await asyncio.wait_for(self._stopped.wait(), max(0.0, self._next - monotonic()))
        except TimeoutError:
            return


class Work:
    """Some letters, and how far they are worked off.

    Args:
        total: How many there are.
        rate: Letters a second; 0 is as many as possible.
        report: Told the progress after each batch.

    Attributes:
        progress: Kept up to date by what handles a batch.
        stopped: Set to end after the batch that is under way.
    """

    def __init__(self, total: int, rate: float, report: Report) -> None:
        self.progress = Progress(total)
        self.stopped = asyncio.Event()
        self.speed = Speed(rate, self.stopped)
        self._report = report

    async def take(self, queue: InputQueue, wanted: Sequence[Death], handle: Handle) -> None:
        """Take letters out of a queue, which is opened for that and closed after.

        Args:
            queue: The queue.
            wanted: The letters, in the order in which they are wanted.
            handle: Settles a batch; what it leaves is put back.
        """
        taking = Taking(queue, wanted, self.speed.batch, self.stopped)
        taken = 0
        try:
            async with aclosing(taking.batches()) as batches:
                async for messages in batches:
                    taken += len(messages)
                    self.progress.passed, self.progress.disordered = taking.passed, taking.disordered
                    await self._handle(messages, handle, taking.kept(messages))
        finally:
            await queue.close()
        if taken < len(wanted) and not self.stopped.is_set():
            claims = queue.resolved.capabilities.claim
            self.progress.left[GONE if claims else NOT_DELIVERED] += len(wanted) - taken

    async def read(self, batches: Iterable[Sequence[QueueMessage]], handle: Handle) -> None:
        """Handle letters that are in no queue."""
        for messages in batches:
            await self._handle(messages, handle, nullcontext())
            if self.stopped.is_set():
                return

    async def _handle(
        self, messages: Sequence[QueueMessage], handle: Handle, kept: AbstractAsyncContextManager[None]
    ) -> None:
        """Handle one batch, report, and wait as long as the rate asks for."""
        async with kept:
            await handle(messages)
        self._report(self.progress)
        await self.speed.wait(len(messages))
