"""Takes letters out of their queue for good: into a file, or away."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from penstock.envelope import wrap
from penstock.message import QueueMessage, Record
from penstock.operations.letters import Death, Filter, letters
from penstock.operations.work import BATCH, GONE, Work
from penstock.queues.browsing import BrowsedQueue
from penstock.queues.queue import InputQueue
from penstock.queues.resolved_queue import ResolvedQueue

Append = Callable[[Sequence[bytes]], object]
"""Writes lines; they are on the disk when it returns."""


async def export(queue: ResolvedQueue, chosen: Sequence[Death], append: Append, work: Work) -> None:
    """Move letters into a file: each line is on the disk before its letter is settled."""
    taken = InputQueue(queue)

    async def move(messages: Sequence[QueueMessage]) -> None:
        append([_line(message) for message in messages])
        work.progress.late += await taken.on_success(messages)
        work.progress.done += len(messages)

    await work.take(taken, chosen, move)


async def copy(queue: ResolvedQueue, wanted: Filter, positions: Collection[str], append: Append, work: Work) -> None:
    """Copy letters into a file, by position in the queue. Changes nothing in the queue."""

    async def write(messages: Sequence[QueueMessage]) -> None:
        append([_line(message) for message in messages])
        work.progress.done += len(messages)

    batch: list[QueueMessage] = []
    async with BrowsedQueue(queue) as browsed:
        async for found in letters(browsed, wanted):
            if found.message.position in positions:
                batch.append(found.message)
            if len(batch) == BATCH:
                await work.read([batch], write)
                batch = []
            if work.stopped.is_set():
                return
    await work.read([batch], write)


async def drop(queue: ResolvedQueue, chosen: Sequence[Death], work: Work) -> None:
    """Settle letters without sending them anywhere."""
    taken = InputQueue(queue)

    async def settle(messages: Sequence[QueueMessage]) -> None:
        late = await taken.on_success(messages)
        work.progress.done += len(messages) - late
        if late:
            work.progress.left[GONE] += late

    await work.take(taken, chosen, settle)


def _line(message: QueueMessage) -> bytes:
    return wrap(Record(message.message, message.key, message.headers))
