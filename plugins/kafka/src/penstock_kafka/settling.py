"""Settling a batch of messages in the ledgers that they came with."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.offsets import Ledger
from penstock_kafka.message import KafkaMessage, Partition


def succeed(messages: Sequence[KafkaMessage], some_given_back: bool) -> int:
    """Mark the offsets of messages as done.

    Args:
        messages: Deliveries, in any order.
        some_given_back: Whether some of them may have been given back before; then such a one is no longer its
            caller's to settle, the offset belongs to its next delivery.

    Returns:
        How many came too late.
    """
    late = 0
    if some_given_back:
        ours = [message for message in messages if not getattr(message, "given_back", False)]
        late = len(messages) - len(ours)
        messages = ours
    if not messages:
        return late
    # Not asked of the ledger, which knows of an offset only what it was last told: whose delivery it was, it forgets.
    for message in messages:
        message.given_back = False
    ledgers = [message.ledger for message in messages]
    offsets = [message.offset for message in messages]
    if ledgers.count(ledgers[0]) == len(ledgers):
        return late + ledgers[0].done(offsets)
    by_ledger: dict[Ledger[Partition], list[int]] = {}
    for ledger, offset in zip(ledgers, offsets, strict=True):
        by_ledger.setdefault(ledger, []).append(offset)
    return late + sum(ledger.done(done) for ledger, done in by_ledger.items())
