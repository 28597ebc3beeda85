"""Nothing is lost by a kill, by a close, or by settling in an unusual order."""

from __future__ import annotations

import asyncio
import os
import random

from penstock.message import QueueMessage
from penstock_kit.accounts import balance
from penstock_kit.at_most_once import at_least_once
from penstock_kit.broken import must
from penstock_kit.children import children
from penstock_kit.kit import Kit, bodies, numbered

KILLS = "PENSTOCK_CONFORMANCE_KILLS"
"""How often one test kills workers; 6 without this variable. The moments are random, and the same in every run."""

BATCH = 20


class Loss:
    """Every connector must pass these tests, whatever it declares."""

    @at_least_once
    def test_killed_workers_lose_nothing(self, kit: Kit) -> None:
        """`kill -9` at random moments, one worker after the other: every message is processed, and at most the messages
        in flight are repeated."""
        kit.needs("processes")

        async def main() -> None:
            kills = int(os.environ.get(KILLS, "6"))
            sent = numbered(60 * kills)
            await kit.send(*sent)
            did: list[bytes] = []
            with children(kit) as maker:
                started = [maker.start("work", batch=BATCH, seed=seed) for seed in range(2)]
                for kill in range(kills):
                    worker = started[kill]
                    await worker.wait_for("loaded")
                    worker.go()
                    # The next worker loads while this one works.
                    started.append(maker.start("work", batch=BATCH, seed=kill + 2))
                    chance = random.Random(kill)
                    await worker.wait_for("did", chance.randint(1, 40))
                    await asyncio.sleep(chance.uniform(0, 0.03))
                    worker.kill()
                    did += worker.lines("did")
            async with kit.consumer() as consumer:
                missing = len(set(sent) - set(did))
                rest: list[QueueMessage] = []
                while missing and (found := await consumer.consume(50)):
                    rest += found
                    await consumer.succeed(found)
                    missing = len(set(sent) - set(did) - set(bodies(rest)))
                rest += await consumer.rest()
            balance(
                sent,
                [*did, *bodies(rest)],
                repeats=kills * (BATCH + kit.backend.settled_late),
                scenario=f"{kills} workers were killed, each with up to {BATCH} messages in flight",
                look="what is acknowledged or committed before on_success was called for it",
            )

        kit.run(main)

    @at_least_once
    def test_what_is_settled_out_of_order_does_not_settle_the_rest(self, kit: Kit) -> None:
        """A worker settles the last half of its messages and is killed: the first half comes again."""
        kit.needs("processes")

        async def main() -> None:
            sent = numbered(20)
            await kit.send(*sent)
            with children(kit) as maker:
                worker = maker.start("hold", count=20, settle_last=10)
                worker.go()
                await worker.wait_for("ready")
                held = worker.lines("holds")
                worker.kill()
            async with kit.consumer() as consumer:
                again = await consumer.receive(10)
                again += await consumer.rest()
            lost = set(held[:10]) - set(bodies(again))
            must(
                not lost,
                f"on_success settles only the messages that it is given; a worker settled the last 10 of 20 and "
                f"was killed, and {len(lost)} of the first 10 are LOST",
                "acknowledgements that include everything before them (Kafka's offsets, AMQP's `multiple`)",
            )

        kit.run(main)

    @at_least_once
    def test_a_close_with_messages_in_flight_loses_none(self, kit: Kit) -> None:
        """Settled messages are gone; the others soon come to the next consumer."""

        async def main() -> None:
            sent = numbered(20)
            await kit.send(*sent)
            async with kit.consumer() as consumer:
                messages = await consumer.receive(20, at_once=7)
                await consumer.succeed(messages[:8])
            async with kit.consumer() as consumer:
                again = await consumer.receive(12)
                await consumer.succeed(again)
                again += await consumer.rest()
            scenario = "a consumer closed after it had settled 8 of 20"
            look = "shutdown: it makes settlements durable, and requeues what is unsettled"
            balance(bodies(messages[8:]), bodies(again), scenario=scenario, look=look)

        kit.run(main)

    @at_least_once
    def test_a_close_just_after_consuming_loses_nothing(self, kit: Kit) -> None:
        """Messages that the client has fetched ahead are not lost either."""

        async def main() -> None:
            sent = numbered(60)
            await kit.send(*sent)
            for most in (1, 5, 30):
                async with kit.consumer() as consumer:
                    await consumer.consume(most)
            async with kit.consumer() as consumer:
                seen = await consumer.receive(60)
            look = "shutdown: it requeues all messages that were fetched, returned by consume or not"
            balance(sent, bodies(seen), scenario="three consumers took messages and closed without settling", look=look)

        kit.run(main)

    @at_least_once
    def test_consumers_that_fail_everything_lose_nothing(self, kit: Kit) -> None:
        """Three consumers requeue all messages several times and close. Then every message is still there, once."""

        async def main() -> None:
            sent = numbered(30)
            await kit.send(*sent)
            for _consumer in range(3):
                async with kit.consumer() as consumer:
                    for _again in range(4):
                        await consumer.fail(await consumer.receive(30))
            async with kit.consumer() as consumer:
                seen = await consumer.receive(30)
                await consumer.succeed(seen)
                seen += await consumer.rest()
            balance(sent, bodies(seen), scenario="three consumers requeued everything four times each")

        kit.run(main)

    @at_least_once
    def test_what_was_confirmed_survives_its_producer(self, kit: Kit) -> None:
        """A producer is killed while it sends: every confirmed record is in the queue, and none is there twice."""
        kit.needs_output()
        kit.needs("processes")

        async def main() -> None:
            confirmed: list[bytes] = []
            with children(kit) as maker:
                senders = [maker.start("send", role="output", first=first) for first in (0, 1_000_000)]
                for number, sender in enumerate(senders):
                    await sender.wait_for("loaded")
                    sender.go()
                    chance = random.Random(number)
                    await sender.wait_for("confirmed", chance.randint(30, 80))
                    await asyncio.sleep(chance.uniform(0, 0.02))
                    sender.kill()
                    confirmed += sender.lines("confirmed")
            async with kit.consumer() as consumer:
                seen: list[QueueMessage] = []
                wanted = set(confirmed)
                while wanted - set(bodies(seen)) and (found := await consumer.consume(500)):
                    seen += found
            lost = wanted - set(bodies(seen))
            must(
                not lost,
                f"a record is confirmed once it is stored; a producer was killed, and of {len(wanted)} confirmed "
                f"records {len(lost)} are LOST, such as {sorted(lost)[:3]}",
                "produce: it returns when the backend has confirmed, not when the client has taken the record",
            )
            look = "what produce sends again by itself"
            twice = [body for body in bodies(seen) if body in wanted]
            balance(confirmed, twice, scenario="a producer was killed while it sent", look=look)

        kit.run(main)
