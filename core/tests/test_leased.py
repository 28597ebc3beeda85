"""A consumer of which only the calls to the backend are written: what it does with them, as the contract says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from time import monotonic
from typing import Any

import pytest

from penstock.leased import LeasedConsumer
from penstock.message import QueueMessage

log = logging.getLogger("penstock.acme")

Calls = list[tuple[Any, ...]]


class AcmeConsumer(LeasedConsumer[QueueMessage]):
    """Notes the calls; what `late` names is not ours, and what `slow` names waits for `go_on`."""

    def __init__(self, most: int = 2, at_once: int = 1) -> None:
        super().__init__("orders", None, log, remedy="raise `lease`", most=most, at_once=at_once)
        self.calls: Calls = []
        self.late: Collection[str] = ()
        self.slow: Collection[str] = ()
        self.go_on = asyncio.Event()
        self.arrived: list[QueueMessage] = []

    async def connect(self) -> None:
        """Nothing is needed."""

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:  # noqa: ARG002
        taken = self.arrived[:max_messages]
        del self.arrived[:max_messages]
        self.leases.deliver(taken)
        return taken

    async def _call(self, what: str, messages: Sequence[QueueMessage], *more: float) -> list[QueueMessage]:
        positions = "".join(message.position for message in messages)
        self.calls.append((what, positions, *more))
        if what in self.slow:
            await self.go_on.wait()
        return [message for message in messages if message.position in self.late]

    async def delete(self, messages: Sequence[QueueMessage]) -> Collection[QueueMessage]:
        return await self._call("delete", messages)

    async def requeue(self, messages: Sequence[QueueMessage], delay: float) -> Collection[QueueMessage]:
        return await self._call("requeue", messages, delay)

    async def prolong(self, messages: Sequence[QueueMessage]) -> Collection[QueueMessage]:
        return await self._call("prolong", messages)

    async def record_calls(self, messages: Sequence[QueueMessage], calls: int) -> None:
        await self._call("record", messages, calls)

    async def collect(self) -> None:
        await self.consume(len(self.arrived), 0.0)

    async def close(self) -> None:
        self.calls.append(("close",))

    async def delivered(self, positions: str) -> list[QueueMessage]:
        """Consume a message of each of these positions."""
        self.arrived += [QueueMessage(each, b"", position=each) for each in positions]
        return list(await self.consume(len(positions), 0.0))


def run(work: Any) -> Any:
    async def main() -> Any:
        async with asyncio.timeout(60):
            return await work

    return asyncio.run(main())


def test_it_settles_in_bulk_and_counts_what_was_late() -> None:
    """No call has more messages than the backend takes, and what was settled before is late without a call."""

    async def main() -> None:
        consumer = AcmeConsumer()
        one, *others = await consumer.delivered("abcd")
        consumer.late = "b"

        assert await consumer.on_success([one, *others[:2]]) == 1
        assert await consumer.on_fail([one, *others], 2.5) == 3
        assert consumer.calls == [("delete", "ab"), ("delete", "c"), ("requeue", "d", 2.5)]

    run(main())


def test_a_lease_that_cannot_be_extended_is_lost() -> None:
    """What is settled is not extended, and is not lost."""

    async def main() -> None:
        consumer = AcmeConsumer()
        messages = await consumer.delivered("abcd")
        consumer.late = "b"
        await consumer.on_success(messages[3:])

        await consumer.extend(messages)
        assert consumer.calls[1:] == [("prolong", "ab"), ("prolong", "c")]
        assert consumer.lost_leases == 1
        assert consumer.leases.held(messages) == [messages[0], messages[2]]

    run(main())


@pytest.mark.parametrize("at_once", [1, 2])
def test_an_extension_waits_for_one_settlement_at_most(at_once: int) -> None:
    """It has the next turn; where calls are made side by side, it does not even wait for that one."""

    async def main() -> None:
        consumer = AcmeConsumer(at_once=at_once)
        messages = await consumer.delivered("abcdefgh")
        consumer.slow = {"delete"}
        settling = [asyncio.create_task(consumer.on_success([message])) for message in messages[:7]]
        while not consumer.calls:
            await asyncio.sleep(0)
        before = list(consumer.calls)
        extending = asyncio.create_task(consumer.extend(messages[7:]))
        for _turn in range(10):
            await asyncio.sleep(0)
        assert (("prolong", "h") in consumer.calls) == (at_once > 1)

        consumer.go_on.set()
        await asyncio.gather(extending, *settling)
        if at_once == 1:
            assert consumer.calls[: len(before) + 1] == [*before, ("prolong", "h")]

    run(main())


def test_calls_that_begin_and_end_are_recorded() -> None:
    """Those of the same number together; what is not held any more is left out."""

    async def main() -> None:
        consumer = AcmeConsumer()
        messages = await consumer.delivered("abcd")
        for message, abandoned in zip(messages, (2, 1, 2, 2), strict=True):
            message.abandoned = abandoned
        consumer.leases.settle(messages[3:])

        await consumer.begin_call(messages)
        assert sorted(consumer.calls) == [("record", "ac", 2), ("record", "b", 1)]
        consumer.calls.clear()
        await consumer.end_call(messages)
        assert consumer.calls == [("record", "ab", 0), ("record", "c", 0)]

    run(main())


def test_at_shutdown_what_was_delivered_or_has_arrived_is_requeued() -> None:
    """Then the client is closed, also if the backend does not answer; a later settlement is late."""

    async def main() -> None:
        consumer = AcmeConsumer(most=10)
        messages = await consumer.delivered("ab")
        consumer.arrived = [QueueMessage("c", b"", position="c")]
        await consumer.shutdown()
        assert consumer.calls == [("requeue", "abc", 0.0), ("close",)]
        assert await consumer.on_success(messages) == 2

    run(main())


def test_a_shutdown_is_bounded(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A backend that does not answer is given up, and the client closed all the same."""
    monkeypatch.setattr("penstock.leased.SHUTDOWN_TIMEOUT", AcmeConsumer.close_timeout + 0.05)

    async def main() -> float:
        consumer = AcmeConsumer()
        await consumer.delivered("a")
        consumer.slow = {"requeue"}
        began = monotonic()
        await consumer.shutdown()
        assert consumer.calls == [("requeue", "a", 0.0), ("close",)]
        return monotonic() - began

    assert run(main()) < 5
    assert "1 messages come back when their leases end" in caplog.text
