"""Records sent ten at a time, to a queue or a topic alike."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from typing import Any
from uuid import uuid4

from penstock.bulk import BatchLimits, produce_in_batches
from penstock.errors import ProduceError
from penstock.message import Record
from penstock.timeouts import whole_seconds
from penstock_aws.errors import Refused
from penstock_aws.wire import KEY, written, written_key

OURS = "penstock-"
"""How message groups begin that are not keys."""

AT_ONCE = 20  # calls under way
LONGEST_DELAY = 900

_GROUP = re.compile(rf"(?!{OURS})[!-~]{{1,128}}")


class Sender:
    """Sends to one queue or topic.

    Args:
        send: Makes the call with entries of ten records at most; returns AWS's answer.
        body: What the body is called in an entry.
        max_bytes: Of all records in a call.
        fifo: Whether there are message groups, and so an order.
        group: The message group of records without a key; None: each has one of its own.
    """

    def __init__(
        self, send: Callable[[Sequence[Any]], Awaitable[Any]], body: str, max_bytes: int, fifo: bool, group: str | None
    ) -> None:
        self._call = send
        self._body = body
        self._fifo = fifo
        self._group = group
        # A body of bytes grows by a third in base64.
        self._limits = BatchLimits(10, max_bytes * 3 // 4 - 10_000)
        self._sending = asyncio.Lock()
        self._ids: dict[Record, str] = {}  # of records whose call had no answer, so that none is stored twice

    async def send(self, records: Sequence[Record]) -> list[ProduceError | None]:
        """See `Producer.produce`."""
        if not self._fifo:
            return await produce_in_batches(
                records, self._send, limits=self._limits, reject=_rejection, at_once=AT_ONCE
            )
        async with self._sending:
            return await produce_in_batches(records, self._send, limits=self._limits)

    async def _send(self, records: Sequence[Record]) -> dict[int, ProduceError]:
        entries = [{"Id": str(number), **self._entry(record)} for number, record in enumerate(records)]
        try:
            failed = (await self._call(entries)).get("Failed", ())
        except Refused as error:
            # The call as a whole is refused: too large in all, or because of one record.
            if len(records) == 1:
                self._ids.pop(records[0], None)
                return {0: ProduceError(str(error), retriable=False)}
            middle = len(records) // 2
            first, second = await self._send(records[:middle]), await self._send(records[middle:])
            return first | {middle + position: refusal for position, refusal in second.items()}
        refused = {
            int(entry["Id"]): ProduceError(
                f"{entry['Code']}: {entry.get('Message', '')}", retriable=not entry["SenderFault"]
            )
            for entry in failed
        }
        for position, record in enumerate(records):
            if position not in refused or not refused[position].retriable:
                self._ids.pop(record, None)
        return refused

    def _entry(self, record: Record) -> dict[str, Any]:
        text, attributes = written(record)
        entry: dict[str, Any] = {self._body: text, "MessageAttributes": attributes}
        key, options = record.key, record.options or {}
        if self._fifo:
            entry["MessageGroupId"], known = self._group_of(key)
            entry["MessageDeduplicationId"] = options.get("deduplication_id") or self._ids.setdefault(
                record, uuid4().hex
            )
            key = None if known else key
        if key is not None:
            attributes[KEY] = written_key(key)
        if record.delay:
            entry["DelaySeconds"] = whole_seconds(record.delay)
        if subject := options.get("subject"):
            entry["Subject"] = subject
        return entry

    def _group_of(self, key: bytes | None) -> tuple[str, bool]:
        """The message group, and whether the key can be read from it."""
        if key is None:
            return f"{OURS}{self._group or uuid4().hex}", True
        if _GROUP.fullmatch(text := key.decode("latin-1")):
            return text, True
        return OURS + sha256(key).hexdigest(), False


def _rejection(record: Record) -> ProduceError | None:
    if record.delay > LONGEST_DELAY:
        return ProduceError(f"a delay of {record.delay:g} s; SQS takes at most {LONGEST_DELAY}", retriable=False)
    return None
