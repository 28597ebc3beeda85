"""The leases of what is in flight: however much that is, each is extended before it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Any, cast

import pytest
from core.tests.engine_fixture import until

from penstock.message import QueueMessage
from penstock.pipeline import lease_extender
from penstock.pipeline.lease_extender import CHECKS, LeaseExtender

MAX_CALLS = 4


class Source:
    """An input queue that remembers what was extended; the first calls have no answer.

    Attributes:
        calls: Calls that were answered.
        extended: Messages that were extended.
    """

    lease = 0.3

    def __init__(self, unanswered: int) -> None:
        self.unanswered = unanswered
        self.calls = 0
        self.extended: set[Any] = set()

    async def extend(self, messages: Sequence[QueueMessage]) -> None:
        if self.unanswered:
            self.unanswered -= 1
            await asyncio.Event().wait()
        self.calls += 1
        self.extended.update(message.message_context for message in messages)


@pytest.mark.parametrize("unanswered", [0, 3])
def test_more_messages_than_calls_should_carry_are_extended_in_time(
    monkeypatch: pytest.MonkeyPatch, unanswered: int
) -> None:
    """All of them by the calls that are made in the span of one lease, also beside calls that have no answer."""
    monkeypatch.setattr(lease_extender, "MAX_MESSAGES", 10)
    monkeypatch.setattr(lease_extender, "MAX_CALLS", MAX_CALLS)
    monkeypatch.setattr(lease_extender, "END_WITHIN", 0.0)
    source = Source(unanswered)
    held = {QueueMessage(f"unanswered {number}", b""): monotonic() for number in range(10 * unanswered)}

    async def main() -> None:
        keeping = asyncio.create_task(LeaseExtender("app", cast(Any, source), held).keep())
        await until(lambda: not source.unanswered)
        now = monotonic()
        held.update({QueueMessage(number, b""): now for number in range(1_000)})
        await until(lambda: source.extended >= set(range(1_000)))
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    asyncio.run(main())

    assert source.calls <= CHECKS * (MAX_CALLS - unanswered)
