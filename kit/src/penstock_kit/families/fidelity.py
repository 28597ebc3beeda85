"""Messages arrive as they were sent, byte for byte."""

from __future__ import annotations

import random

from penstock.errors import ConnectorError
from penstock.message import QueueMessage, Record
from penstock_kit.accounts import balance, shown, shown_headers
from penstock_kit.broken import must
from penstock_kit.capability import proves
from penstock_kit.kit import Kit

EVERY_BYTE = bytes(range(256))
AWKWARD = [b"\x00", b"\x00a\x00", b"\xff\xfe", b"\xc3\x28", EVERY_BYTE, b" x \r\n", b"{}", b"null", "żółć €".encode()]


class Fidelity:
    """Bodies, keys, headers."""

    def test_an_empty_body_stays_an_empty_body(self, kit: Kit) -> None:
        """It is delivered: neither dropped nor turned into a tombstone."""

        async def main() -> None:
            await kit.send(b"before", b"", b"after")
            async with kit.consumer() as consumer:
                seen = [message.message for message in await consumer.receive(3)]
            look = "a body that is tested for truth instead of for None, on either way"
            balance([b"before", b"", b"after"], seen, scenario="an empty body between two others", look=look)

        kit.run(main)

    def test_every_byte_survives(self, kit: Kit) -> None:
        """NUL, 0xFF, invalid UTF-8, white space at the ends: a body is bytes, not text."""

        async def main() -> None:
            await kit.send(*AWKWARD)
            async with kit.consumer() as consumer:
                seen = {message.message for message in await consumer.receive(len(AWKWARD))}
            for body in AWKWARD:
                must(
                    body in seen,
                    f"a body comes back byte for byte; {shown(body)} did not, there came {sorted(map(shown, seen))}",
                    "an encode or decode, strip or C string on the way of a body",
                )

        kit.run(main)

    def test_a_large_body_survives(self, kit: Kit) -> None:
        """A megabyte, unless the backend fixture gives a lower limit."""

        async def main() -> None:
            body = random.Random(1).randbytes(kit.backend.largest_body)
            await kit.send(body)
            async with kit.consumer() as consumer:
                message = await consumer.one()
                got = message.message or b""
                await consumer.succeed([message])
            must(
                got == body,
                f"a body of {len(body)} bytes comes back byte for byte; {len(got)} bytes came, or others",
                "limits and cuts on the way of a body",
            )

        kit.run(main)

    @proves("headers")
    def test_headers_come_back_byte_for_byte(self, kit: Kit) -> None:
        """In order, with repeated names, non-ASCII names, empty and binary values. No headers are added."""
        headers = [("a", b"1"), ("b", b""), ("a", b"2"), ("Ä-näme", EVERY_BYTE), ("UPPER", b"\x00")]

        async def main() -> None:
            theirs = list(headers)
            await kit.send(Record(b"with", headers=theirs), Record(b"without"))
            theirs.append(("late", b"a producer's list is its own"))
            async with kit.consumer() as consumer:
                seen = {message.message: list(message.headers) for message in await consumer.receive(2)}
            balance([b"with", b"without"], list(seen), scenario="one message with headers, one without")
            must(
                seen[b"with"] == headers,
                f"headers come back as they were sent, {shown_headers(headers)}; they came as "
                f"{shown_headers(seen[b'with'])}",
                "how headers are stored: as pairs in a list, with values as bytes, copied from the record",
            )
            must(
                seen[b"without"] == [],
                f"a message without headers has none; it came with {shown_headers(seen[b'without'])}",
                "headers that one message leaves to the next, or that the connector adds",
            )

        kit.run(main)

    @proves("keys")
    def test_keys_come_back_byte_for_byte(self, kit: Kit) -> None:
        """Binary keys, too. An empty key is not a missing key."""
        keys = {b"text": b"order-42", b"binary": EVERY_BYTE, b"empty": b"", b"none": None}

        async def main() -> None:
            await kit.send(*(Record(body, key) for body, key in keys.items()))
            async with kit.consumer() as consumer:
                seen = {message.message: message.key for message in await consumer.receive(len(keys))}
            for body, key in keys.items():
                must(
                    body in seen and seen[body] == key,
                    f"a key comes back byte for byte; {key!r} came as {seen.get(body, 'nothing')!r}",
                    "how a key is stored; None is not b''",
                )

        kit.run(main)

    @proves("tombstones")
    def test_a_tombstone_is_not_an_empty_body(self, kit: Kit) -> None:
        """None comes back as None, b"" as b""."""

        async def main() -> None:
            await kit.send(_keyed(kit, None), _keyed(kit, b""))
            async with kit.consumer() as consumer:
                seen = [message.message for message in await kit.take(consumer, 2)]
            must(
                sorted(seen, key=repr) == [None, b""] or sorted(seen, key=repr) == [b"", None],
                f"a null body comes back as None and an empty one as b''; both were sent, there came {seen!r}",
                "a body that is tested for truth instead of for None",
            )

        kit.run(main)

    def test_a_null_body_never_becomes_another_one(self, kit: Kit) -> None:
        """If a backend has no tombstones, it refuses a record without a body instead of storing something else."""

        async def main() -> None:
            async with kit.producer() as producer:
                try:
                    answers = await producer.produce([_keyed(kit, None)])
                except ConnectorError:
                    return
            if answers[0] is not None:
                return
            async with kit.consumer() as consumer:
                message: QueueMessage = await consumer.one()
            must(
                message.message is None,
                f"a record with the body None was confirmed and came back as {message.message!r}",
                "produce: without tombstones it answers such a record with ProduceError(…, retriable=False)",
            )

        kit.run(main)


def _keyed(kit: Kit, body: bytes | None) -> Record:
    # Some backends accept a tombstone only with a key.
    return Record(body, b"k" if kit.capabilities.keys else None)
