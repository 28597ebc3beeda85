"""Mutants that change what they carry."""

from __future__ import annotations

from collections.abc import Sequence

from mutants.reference import ReferenceConsumer, ReferenceProducer
from penstock.errors import ProduceError
from penstock.message import QueueMessage, Record


class Changes(ReferenceConsumer):
    """Changes each message in some way."""

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        messages = await super().consume(max_messages, timeout)
        for message in messages:
            self.change(message)
        return messages

    def change(self, message: QueueMessage) -> None:
        raise NotImplementedError


class DropsEmptyBodies(ReferenceConsumer):
    """Takes an empty body for no message."""

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        return [each for each in await super().consume(max_messages, timeout) if each.message or each.message is None]


class MangledAsText(Changes):
    """Takes a body for text."""

    def change(self, message: QueueMessage) -> None:
        if message.message is not None:
            message.message = message.message.decode(errors="replace").encode()


class EndsAtNul(Changes):
    """Takes a body for a C string."""

    def change(self, message: QueueMessage) -> None:
        if message.message is not None:
            message.message = message.message.split(b"\0")[0]


class CutsLargeBodies(Changes):
    """Has a column of 64 KiB."""

    def change(self, message: QueueMessage) -> None:
        if message.message is not None:
            message.message = message.message[:65_536]


class TombstoneBecomesEmpty(Changes):
    """`body or b""`."""

    def change(self, message: QueueMessage) -> None:
        message.message = message.message or b""


class HeadersAsDict(Changes):
    """A name twice is a name once."""

    def change(self, message: QueueMessage) -> None:
        message.headers = list(dict(message.headers).items())


class LeaksHeaders(Changes):
    """What one message has, the next one has, too."""

    def change(self, message: QueueMessage) -> None:
        self.seen = getattr(self, "seen", []) + list(message.headers)
        message.headers = self.seen


class AsciiHeaders(Changes):
    """Names and values are ASCII, aren't they?"""

    def change(self, message: QueueMessage) -> None:
        message.headers = [
            (name.encode("ascii", "replace").decode(), value.decode("ascii", "replace").encode())
            for name, value in message.headers
        ]


class DropsKeys(Changes):
    """Who needs keys?"""

    def change(self, message: QueueMessage) -> None:
        message.key = None


class EmptyKeyIsNone(Changes):
    """`key or None`."""

    def change(self, message: QueueMessage) -> None:
        message.key = message.key or None


class TimestampInMilliseconds(Changes):
    """As the backend has it."""

    def change(self, message: QueueMessage) -> None:
        message.timestamp = (message.timestamp or 0.0) * 1000


class AttemptsFromZero(Changes):
    """Counts redeliveries, not deliveries."""

    def change(self, message: QueueMessage) -> None:
        message.attempts -= 1


class NoPosition(Changes):
    """A dead letter will not say where it came from."""

    def change(self, message: QueueMessage) -> None:
        message.position = ""


class TextBodies(Changes):
    """Bodies are str."""

    def change(self, message: QueueMessage) -> None:
        message.message = (message.message or b"").decode()  # type: ignore[assignment]  # that is the fault


class StoresTombstonesAsEmpty(ReferenceProducer):
    """Has no tombstones, and does not say so to the sender of one."""

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        return await super().produce([Record(r.message or b"", r.key, r.headers, r.delay) for r in records])
