"""A message that always fails or kills its worker: it blocks no others, and is never lost."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from penstock.message import QueueMessage
from penstock_kit.accounts import balance
from penstock_kit.broken import must
from penstock_kit.capability import proves
from penstock_kit.children import children
from penstock_kit.kit import Kit, bodies, numbered

POISON = b"13"
COUNT = 60
LONGEST = 5.0  # seconds for messages of a dead worker to come again, added to the kit's timeout


class Poison:
    """Messages that fail again and again."""

    def test_a_message_that_always_fails_does_not_starve_the_others(self, kit: Kit) -> None:
        """It is requeued each time it comes. All others are delivered meanwhile, and none twice."""

        async def main() -> None:
            async with kit.producer() as producer:
                await producer.send([kit.held(b"%d" % n, b"key-%d" % (n % 8)) for n in range(COUNT)])
            good: list[QueueMessage] = []
            attempts: list[int] = []
            async with kit.consumer() as consumer:
                deadline = monotonic() + 2 * kit.timeout
                while monotonic() < deadline:
                    messages = await consumer.consume(5, kit.backend.idle_timeout)
                    failed = [message for message in messages if message.message == POISON]
                    succeeded = [message for message in messages if message.message != POISON]
                    await consumer.succeed(succeeded)
                    await consumer.fail(failed)
                    good += succeeded
                    attempts += [message.attempts for message in failed]
                    if len(good) >= COUNT - 1 and len(attempts) >= 3:
                        break
            others = [b"%d" % n for n in range(COUNT) if b"%d" % n != POISON]
            scenario = f"one of {COUNT} messages failed {len(attempts)} times"
            balance(
                others, bodies(good), scenario=scenario, look="messages that wait behind one that is delivered again"
            )
            must(
                attempts[:3] == [1, 2, 3],
                f"a message that fails comes again and again, with attempts 1, 2, 3, …; it came with {attempts[:5]}",
                "on_fail: how a message is delivered again, and counted",
            )

        kit.run(main)

    @proves("requeue_delay", probe=False)
    def test_a_message_that_waits_for_its_next_attempt_holds_up_no_other(self, kit: Kit) -> None:
        """Requeued with a long delay, it blocks no others, and it comes to the next consumer."""

        async def main() -> None:
            await kit.send(*(b"%d" % n for n in range(20)))
            async with kit.consumer() as consumer:
                first = await consumer.receive(5)
                await consumer.fail(first[:1], 2.0)
                await consumer.succeed(first[1:])
                rest = await consumer.receive(15)
                await consumer.succeed(rest)
                scenario = "one message of 20 was held back"
                balance([b"%d" % n for n in range(20)], bodies([*first, *rest]), scenario=scenario)
            async with kit.consumer() as consumer:
                again = await consumer.receive(1, timeout=2.0 + kit.timeout)
                look = "what shutdown does to messages that wait for their delay to end"
                balance(bodies(first[:1]), bodies(again), scenario="held back, then closed", look=look)

        kit.run(main)

    @proves("redelivery_count", probe=False)
    def test_a_death_is_told_from_a_requeue(self, kit: Kit) -> None:
        """`abandoned` counts the workers that died with a message, then the calls that began and did not end. Requeues
        and mere claims do not count. A connector may leave it None."""
        kit.needs("processes")

        async def main() -> None:
            await kit.send(*numbered(3))
            async with kit.consumer() as consumer:
                found = await consumer.receive(3)
                if all(message.abandoned is None for message in found):
                    kit.not_promised("it leaves `abandoned` None, so the engine uses `attempts`")
                _tells(found, [0, 0, 0], "never delivered before")
                await consumer.fail(found)
                found = await consumer.receive(3)
                _tells(found, [0, 0, 0], "requeued by on_fail")
            with children(kit) as maker:
                for begun in (0, 1):
                    worker = maker.start("hold", count=3, settle_last=0, begin=begun)
                    worker.go()
                    await worker.wait_for("ready", seconds=LONGEST + 4 * kit.timeout)
                    worker.kill()
                suspect = worker.lines("holds")[0]
            async with kit.consumer() as consumer:
                found = await consumer.receive(3, timeout=LONGEST + kit.timeout)
                found = sorted(found, key=lambda message: message.message != suspect)
                _tells(found, [2, 1, 1], "held by two workers that died, the first one with its call begun")
                await consumer.inner.end_call(found)
                await consumer.fail(found)
                _tells(await consumer.receive(3), [0, 0, 0], "cleared by end_call, then requeued")

        kit.run(main)


def _tells(messages: Sequence[QueueMessage], abandoned: Sequence[int], scenario: str) -> None:
    told = [message.abandoned for message in messages]
    must(
        told == list(abandoned),
        f"`abandoned` counts how often a worker died with a message; of three that were {scenario}, it was {told}, not "
        f"{list(abandoned)}",
        "how a claim detects that the last delivery was neither settled nor requeued; begin_call and end_call",
    )
