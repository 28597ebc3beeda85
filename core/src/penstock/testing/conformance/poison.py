"""A message that always fails: others get past it, and it is never lost."""

from __future__ import annotations

from time import monotonic

from penstock.message import QueueMessage
from penstock.testing.conformance.accounts import balance
from penstock.testing.conformance.capability import proves
from penstock.testing.conformance.kit import Kit, bodies
from penstock.testing.conformance.promises import must

POISON = b"13"
COUNT = 60


class Poison:
    """Failing again and again."""

    def test_a_message_that_always_fails_does_not_starve_the_others(self, kit: Kit) -> None:
        """It is given back each time it comes; all others are delivered meanwhile, and none twice."""

        async def main() -> None:
            async with kit.producer() as producer:
                await producer.send([kit.record(b"%d" % n, b"key-%d" % (n % 8)) for n in range(COUNT)])
            good: list[QueueMessage] = []
            attempts: list[int] = []
            async with kit.consumer() as consumer:
                deadline = monotonic() + 2 * kit.patience
                while monotonic() < deadline:
                    messages = await consumer.consume(5, kit.harness.quiet)
                    failed = [message for message in messages if message.message == POISON]
                    succeeded = [message for message in messages if message.message != POISON]
                    await consumer.succeed(succeeded)
                    await consumer.fail(failed)
                    good += succeeded
                    attempts += [message.attempts for message in failed]
                    if len(good) >= COUNT - 1 and len(attempts) >= 3:
                        break
            others = [b"%d" % n for n in range(COUNT) if b"%d" % n != POISON]
            story = f"one of {COUNT} messages failed {len(attempts)} times"
            balance(others, bodies(good), story=story, look="what waits behind a message that is delivered again")
            must(
                attempts[:3] == [1, 2, 3],
                f"a message that fails comes again and again, with attempts 1, 2, 3, …; it came with {attempts[:5]}",
                "on_fail: who delivers again, and who counts",
            )

        kit.run(main)

    @proves("delay", probe=False)
    def test_a_message_that_waits_for_its_next_attempt_holds_up_nobody(self, kit: Kit) -> None:
        """Given back with a long delay, it is out of the way, and it is there for the next consumer."""

        async def main() -> None:
            await kit.send(*(b"%d" % n for n in range(20)))
            async with kit.consumer() as consumer:
                first = await consumer.receive(5)
                await consumer.fail(first[:1], 2.0)
                await consumer.succeed(first[1:])
                rest = await consumer.receive(15)
                await consumer.succeed(rest)
                story = "one message of 20 was held back"
                balance([b"%d" % n for n in range(20)], bodies([*first, *rest]), story=story)
            async with kit.consumer() as consumer:
                again = await consumer.receive(1, patience=2.0 + kit.patience)
                look = "what shutdown does to messages that wait for their delay to end"
                balance(bodies(first[:1]), bodies(again), story="held back, then closed", look=look)

        kit.run(main)
