"""A worker without room for more messages: its memory stays small, and it continues when it has room."""

from __future__ import annotations

import asyncio
import random

from penstock_kit.accounts import balance
from penstock_kit.at_most_once import at_least_once
from penstock_kit.broken import must
from penstock_kit.children import children
from penstock_kit.kit import Kit, bodies, numbered

BODY = 10_000  # bytes
BACKLOG = 9_600  # messages: 96 MB. More would not prove more: a client that fetches it all exceeds MOST
MOST = 72 * 1024  # KiB that a blocked consumer may grow by, for what its client fetches ahead
BLOCKED = 1.0  # seconds


class BackPressure:
    """Only messages that were asked for are in flight."""

    @at_least_once
    def test_a_blocked_worker_does_not_fill_its_memory(self, kit: Kit) -> None:
        """96 MB wait in the queue; a worker has taken 20 messages and asks for no more: it stays small."""
        kit.needs("processes")

        async def main() -> None:
            async with kit.producer() as producer:
                for start in range(0, BACKLOG, 500):
                    await producer.send([kit.record(_incompressible(n), b"%d" % n) for n in range(start, start + 500)])
            with children(kit) as maker:
                worker = maker.start("block", count=20)
                worker.go()
                (peak,) = await worker.wait_for("peak", seconds=30 + kit.timeout)
                (base,) = worker.lines("base")
                extra = worker.lines("extra")
            must(
                not any(extra),
                f"consume(0, …) only keeps a membership alive; it returned {len(extra)} messages",
                "consume with max_messages=0, of a connector that sets keep_polling",
            )
            grown = int(peak) - int(base)
            must(
                grown < MOST,
                f"a worker that asks for no more messages fetches no more; with {BACKLOG * BODY // 1_000_000} MB in "
                f"the queue it grew by {grown // 1024} MB, and may by {MOST // 1024} MB",
                "what the client fetches ahead: bound it in bytes",
            )

        kit.run(main)

    def test_a_worker_goes_on_after_it_was_blocked(self, kit: Kit) -> None:
        """It takes messages, holds them for a while and settles them. Then it gets all the rest, once."""

        async def main() -> None:
            sent = numbered(100)
            await kit.send(*sent)
            async with kit.consumer() as consumer:
                held = await consumer.receive(30)
                loop = asyncio.get_running_loop()
                blocked_until = loop.time() + BLOCKED
                while loop.time() < blocked_until:
                    if consumer.inner.keep_polling:
                        extra = await consumer.consume(0, 0.1)
                        must(
                            not extra,
                            f"consume(0, …) only keeps a membership alive; it returned {len(extra)} messages, for "
                            "which an engine has no room",
                            "consume with max_messages=0, of a connector that sets keep_polling: pause the client, "
                            "poll, resume",
                        )
                    await asyncio.sleep(0.05)
                await consumer.succeed(held)
                rest = await consumer.receive(70)
                await consumer.succeed(rest)
                rest += await consumer.rest()
            look = "messages that the client fetches while consume does not ask for any"
            balance(sent, bodies([*held, *rest]), scenario="30 of 100 messages were held for a second", look=look)

        kit.run(main)


def _incompressible(number: int) -> bytes:
    # Random bytes: with compression, equal bodies would all fit into the client's limits.
    return random.Random(number).randbytes(BODY)
