"""Sends dead letters back to the queues that they came from: stored and confirmed there before they are settled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Self

from penstock.errors import ProduceError
from penstock.message import QueueMessage, Record
from penstock.operations.letters import Death, Filter, Letter, death, in_order, letter, letters
from penstock.operations.origins import Origins
from penstock.operations.work import GONE, Handle, Progress, Work
from penstock.queues.browsing import BrowsedQueue
from penstock.queues.queue import InputQueue, OutputQueue
from penstock.queues.resolved_queue import ResolvedQueue

MOST_REPLAYS = 3
"""A letter that was sent back so often, and died each time, is left unless that is forced."""

DIED_AGAIN = f"replayed {MOST_REPLAYS} times or more, and died each time: look at them with `show`, then use --force"


class Plan:
    """Where each of some letters goes.

    Args:
        origins: Finds where a letter goes.
        force: Also letters that were replayed often enough.

    Attributes:
        deaths: Of the letters that can be sent.
        targets: By position, the queue that a letter goes to.
        counts: How many letters go to each queue.
        left: Why letters are left where they are, and how many for each reason.
    """

    def __init__(self, origins: Origins, *, force: bool = False) -> None:
        self.deaths: list[Death] = []
        self.targets: dict[str, ResolvedQueue] = {}
        self.counts: Counter[str] = Counter()
        self.left: Counter[str] = Counter()
        self._origins = origins
        self._force = force

    def add(self, found: Letter) -> bool:
        """Decide about one letter; returns whether it is to be sent."""
        target = self._origins.find(found)
        if not isinstance(target, str) and found.details.replays >= MOST_REPLAYS and not self._force:
            target = DIED_AGAIN
        if isinstance(target, str):
            self.left[target] += 1
            return False
        self.deaths.append(death(found))
        self.targets[found.message.position] = target
        self.counts[target.name] += 1
        return True


async def plan(queue: ResolvedQueue, wanted: Filter, origins: Origins, *, force: bool = False) -> Plan:
    """Where each letter of a queue goes that a filter means. Changes nothing."""
    found = Plan(origins, force=force)
    async with BrowsedQueue(queue) as browsed:
        async for each in letters(browsed, wanted):
            found.add(each)
    return found


async def replay(queue: ResolvedQueue, plan: Plan, work: Work) -> None:
    """Send the letters of a plan in the order of their death, and settle each once it is confirmed.

    A letter that dies again meanwhile is a new one, which is not in the plan.
    """
    work.progress.left += plan.left
    taken = InputQueue(queue)
    async with Sender(plan.targets, work.progress) as sender:
        await work.take(taken, in_order(queue, plan.deaths), sender.moves_from(taken))


class Sender:
    """Sends letters to their queues, each queue opened when its first letter comes.

    Args:
        targets: By position, the queue that a letter goes to.
        progress: Where what becomes of the letters is counted.
    """

    def __init__(self, targets: Mapping[str, ResolvedQueue], progress: Progress) -> None:
        self._targets = targets
        self._progress = progress
        self._outputs: dict[str, OutputQueue] = {}
        self._stack = AsyncExitStack()

    async def send(self, messages: Sequence[QueueMessage]) -> Sequence[QueueMessage]:
        """Send a batch; returns the messages that are stored. Of one queue, they are stored in their order."""
        sent: list[QueueMessage] = []
        for output, some in await self._by_output(messages):
            errors = await output.produce([_record(message) for message in some]) or [None] * len(some)
            self._leave(output, errors)
            sent += [message for message, error in zip(some, errors, strict=True) if error is None]
        return sent

    def moves_from(self, queue: InputQueue) -> Handle:
        """What handles a batch of this queue: sends, then settles; in one transaction where the backend has them."""

        async def move(messages: Sequence[QueueMessage]) -> None:
            for output, some in await self._by_output(messages):
                if queue.transaction_problem(output) is None:
                    await self._move(queue, output, some)
                else:
                    stored = await self.send(some)
                    late = await queue.on_success(stored) if stored else 0
                    self._progress.late += late
                    self._progress.done += len(stored)

        return move

    async def _move(self, queue: InputQueue, output: OutputQueue, messages: Sequence[QueueMessage]) -> None:
        while messages:
            done = await queue.transact(messages, [(output, [_record(message) for message in messages])])
            if done.committed:
                self._progress.done += len(messages)
                return
            refused = {refusal.record: refusal.error for refusal in done.refused}
            self._leave(output, refused.values())
            if done.lost:
                self._progress.left[GONE] += len(done.lost)
            lost = set(map(id, done.lost))
            messages = [
                message for place, message in enumerate(messages) if place not in refused and id(message) not in lost
            ]

    async def _by_output(
        self, messages: Sequence[QueueMessage]
    ) -> Iterable[tuple[OutputQueue, Sequence[QueueMessage]]]:
        batches: dict[str, list[QueueMessage]] = {}
        for message in messages:
            target = self._targets[message.position]
            if target.name not in self._outputs:
                self._outputs[target.name] = await self._stack.enter_async_context(OutputQueue(target))
            batches.setdefault(target.name, []).append(message)
        return [(self._outputs[name], some) for name, some in batches.items()]

    def _leave(self, output: OutputQueue, errors: Iterable[ProduceError | None]) -> None:
        for error in errors:
            if error is not None:
                self._progress.left[f"refused by {output}: {error}"] += 1

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._stack.aclose()


def _record(message: QueueMessage) -> Record:
    return letter(message).details.to_replay()
