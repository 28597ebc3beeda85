"""What a consumer holds: each delivery ends once, and a lease that ended is counted, said, and remembered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from time import monotonic
from typing import Any

import pytest

from penstock.errors import NotConnected
from penstock.leases import Leases, Settlements
from penstock.message import QueueMessage
from penstock.turns import Turns

log = logging.getLogger("penstock.acme")


def deliveries(*positions: str) -> list[QueueMessage]:
    return [QueueMessage(position, b"", position=position) for position in positions]


def book() -> Leases[QueueMessage]:
    return Leases("q", "raise `lease`", log)


def run(work: Any) -> Any:
    async def main() -> Any:
        async with asyncio.timeout(15):
            return await work

    return asyncio.run(main())


def test_a_delivery_is_held_until_it_is_settled() -> None:
    """In the order of delivery; settling twice is harmless, and a third party's message is not held."""
    leases, messages = book(), deliveries("1", "2", "3")
    leases.deliver(messages)
    assert leases.held(reversed(messages)) == messages[::-1]
    assert leases.held(deliveries("1")) == []

    leases.settle(messages[1:2])
    leases.settle(messages[1:2])
    assert list(leases) == [messages[0], messages[2]]
    assert len(leases) == 2
    assert messages[1] not in leases
    assert leases.lost == 0


def test_a_lease_that_ended_is_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """One line for all of them, with what to do; it can no longer be settled."""
    leases, messages = book(), deliveries("1", "2", "3")
    leases.deliver(messages)
    leases.lose(messages[1:])
    leases.lose(messages[1:])

    assert leases.lost == 2
    assert [record.message for record in caplog.records] == [
        "queue q: 2 leases ended before they were extended, the first of message 2; raise `lease`"
    ]
    assert leases.held(messages) == messages[:1]


def test_what_is_being_settled_is_not_lost() -> None:
    """An extension no longer finds it, for that very reason."""
    leases, messages = book(), deliveries("1", "2")
    leases.deliver(messages)
    with leases.settling(messages[:1]):
        leases.lose(messages)

    assert leases.lost == 1
    assert leases.held(messages) == messages[:1]


def test_by_its_own_clock_a_lease_ends_by_itself() -> None:
    """And cannot be extended afterwards: by now it may be the lease of another worker that is prolonged."""
    leases, (over, running) = book(), deliveries("1", "2")
    leases.deliver([over], until=monotonic() - 0.001)
    leases.deliver([running], until=monotonic() + 60)
    leases.extend([over, running], until=monotonic() + 120)

    assert leases.held([over, running]) == [running]
    assert leases.lost == 1


def test_a_message_whose_lease_ended_here_is_known_again() -> None:
    """Lost, settled too late, or still held by an earlier delivery: no worker died with it. Once only."""
    leases, messages = book(), deliveries("lost", "late", "held", "settled", "deleted")
    leases.deliver(messages)
    leases.lose(messages[:1])
    leases.settle(messages[1:2], late=messages[1:2])
    leases.settle(messages[3:])

    again = deliveries("lost", "late", "held", "settled", "of another worker")
    assert leases.delivered_here(again) == set(again[:3])
    leases.deliver(again[:2])
    leases.settle(again[:2])
    assert leases.delivered_here(deliveries("lost", "late")) == set()


def test_at_the_end_what_is_held_is_requeued(caplog: pytest.LogCaptureFixture) -> None:
    """If the backend does not take it in time, or is away, the log says how much comes late."""
    messages, given = deliveries("1", "2"), list[QueueMessage]()

    async def requeue(held: list[QueueMessage]) -> None:
        given.extend(held)

    async def away(_held: list[QueueMessage]) -> None:
        raise NotConnected("it is away")

    async def hang(_held: list[QueueMessage]) -> None:
        await asyncio.sleep(60)

    for how in (requeue, away, hang):
        leases = book()
        leases.deliver(messages)
        run(leases.release(how, 0.01 if how is hang else 10.0))
        assert len(leases) == 0
    run(book().release(hang, 10.0))  # nothing is held, so nothing is asked

    assert given == messages
    assert [record.message for record in caplog.records] == [
        "queue q: 2 messages come back when their leases end: it is away",
        "queue q: 2 messages come back when their leases end: no answer within 0.01 s",
    ]


class Backend:
    """Deletes and requeues; leaves alone what it is told, fails when it is told."""

    def __init__(self, limit: int = 10) -> None:
        self.leases = book()
        self.turns = Turns()
        self.settlements = Settlements(self.leases, self.turns, self.delete, self.requeue, lambda: limit)
        self.calls: list[tuple[list[str], float | None]] = []
        self.late: Collection[str] = ()
        self.failing: Collection[str] = ()

    async def delete(self, messages: Sequence[QueueMessage]) -> list[QueueMessage]:
        return await self.requeue(messages, None)

    async def requeue(self, messages: Sequence[QueueMessage], delay: float | None) -> list[QueueMessage]:
        assert self.turns.locked()
        await asyncio.sleep(0)
        if any(message.position in self.failing for message in messages):
            raise NotConnected("away")
        self.calls.append(([message.position for message in messages], delay))
        return [message for message in messages if message.position in self.late]


def test_settlements_that_wait_are_made_together() -> None:
    """Each caller learns how many of its own were late; delays stay apart."""

    async def main() -> None:
        backend, messages = Backend(), deliveries("1", "2", "3", "4", "5", "6")
        backend.late = ("3",)
        backend.leases.deliver(messages)
        settle = backend.settlements
        async with backend.turns:
            calls = [
                settle.delete(messages[:2]),
                settle.delete([messages[2], *deliveries("never held")]),
                settle.requeue(messages[3:4]),
                settle.requeue(messages[4:5], 2.5),
                settle.requeue(messages[5:], float("nan")),
            ]
            waiting = [asyncio.create_task(call) for call in calls]
            await asyncio.sleep(0)
        assert await asyncio.gather(*waiting) == [0, 2, 0, 0, 0]
        assert backend.calls == [(["1", "2", "3"], None), (["4", "6"], 0.0), (["5"], 2.5)]
        assert len(backend.leases) == 0
        assert backend.leases.delivered_here(again := deliveries("1", "3")) == {again[1]}
        assert await settle.delete([]) == await settle.requeue([]) == 0

    run(main())


def test_a_settlement_that_is_repeated_counts_what_was_done_before_as_done() -> None:
    """The first part was settled when the backend went away."""

    async def main() -> None:
        backend, messages = Backend(limit=2), deliveries("1", "2", "3", "4")
        backend.leases.deliver(messages)
        backend.failing = ("3",)
        with pytest.raises(NotConnected):
            await backend.settlements.delete(messages)
        assert list(backend.leases) == messages[2:]
        backend.failing = ()
        assert await backend.settlements.delete(messages) == 0
        assert await backend.settlements.delete(messages) == 4
        assert [call for call, _ in backend.calls] == [["1", "2"], ["3", "4"]]

    run(main())


def test_settlements_side_by_side_keep_what_was_done_beside_a_failure() -> None:
    """For a backend with small bulk calls; a lease that ended while a call waited is not settled."""

    async def main() -> None:
        backend, messages = Backend(limit=1), deliveries("1", "2", "3", "4")
        settlements = Settlements(backend.leases, backend.turns, backend.delete, backend.requeue, lambda: 1, at_once=4)
        backend.leases.deliver(messages)
        backend.failing = ("2",)
        with pytest.raises(NotConnected):
            await settlements.delete(messages)
        assert list(backend.leases) == messages[1:2]
        backend.failing = ()
        assert await settlements.delete(messages) == 0

        late = deliveries("5", "6")

        async def delete(some: Sequence[QueueMessage]) -> list[QueueMessage]:
            backend.calls.append(([message.position for message in some], None))
            await asyncio.sleep(0.05)
            return []

        backend.calls.clear()
        one_by_one = Settlements(backend.leases, asyncio.Lock(), delete, backend.requeue, lambda: 1)
        backend.leases.deliver(late, until=monotonic() + 0.04)
        assert await one_by_one.delete(late) == 1
        assert backend.calls == [(["5"], None)]

    run(main())


def test_closing_waits_for_settlements_and_requeues_the_rest() -> None:
    """What is settled afterwards is late."""

    async def main() -> None:
        backend, messages = Backend(), deliveries("1", "2", "3")
        backend.leases.deliver(messages)
        under_way = asyncio.create_task(backend.settlements.delete(messages[:1]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await backend.settlements.close(5.0)
        assert await under_way == 0
        assert backend.calls == [(["1"], None), (["2", "3"], 0.0)]
        assert await backend.settlements.delete(messages) == 3

    run(main())


def test_settling_one_by_one_gets_past_what_was_settled_before_the_connection_broke() -> None:
    """The engine repeats the call; what the backend has deleted by then is neither tried again nor late."""
    leases = Leases[QueueMessage]("q", "raise it", logging.getLogger("penstock.test"))
    messages = [QueueMessage(number, b"") for number in range(3)]
    leases.deliver(messages)
    tried: list[int] = []

    def breaks(message: QueueMessage) -> bool:
        tried.append(message.message_context)
        if message.message_context == 1:
            raise NotConnected("gone")
        return True

    with pytest.raises(NotConnected):
        leases.settle_each(messages, breaks)
    leases.connection_lost()  # it had the other two, which are delivered again

    assert leases.settle_each(messages, breaks) == 2
    assert (tried, leases.lost, len(leases)) == ([0, 1], 2, 0)


def test_extending_one_by_one_loses_what_the_backend_does_not_know() -> None:
    """Each lease may have a length of its own."""
    leases = Leases[QueueMessage]("q", "raise it", logging.getLogger("penstock.test"))
    kept, lost = (QueueMessage(name, b"") for name in ("kept", "lost"))
    leases.deliver([kept, lost])

    leases.extend_each([kept, lost], lambda message: 60.0 if message is kept else None)

    assert leases.held([kept, lost]) == [kept]
    assert leases.lost == 1
