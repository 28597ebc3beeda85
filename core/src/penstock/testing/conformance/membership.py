"""Consumers come, go and die while there is work; groups each get everything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from penstock.message import QueueMessage
from penstock.testing.conformance.accounts import balance
from penstock.testing.conformance.capability import proves
from penstock.testing.conformance.children import children
from penstock.testing.conformance.kit import Kit, bodies, numbered
from penstock.testing.conformance.watched import WatchedConsumer, shut_down

AT_ONCE = 10  # messages in flight a consumer


class Membership:
    """Several consumers of one queue, several groups."""

    def test_workers_that_join_leave_and_die_lose_nothing(self, kit: Kit) -> None:
        """One joins and is killed, one joins and stays, one leaves: repeated is at most what was in flight."""
        kit.needs("processes")

        async def main() -> None:
            sent = numbered(400)
            async with kit.producer() as producer:
                await producer.send([kit.record(body, body) for body in sent])
            first, second = kit.make_consumer(), kit.make_consumer()
            seen: list[QueueMessage] = []
            try:
                with children(kit) as maker:
                    worker = maker.start("work", batch=AT_ONCE)
                    await worker.wait_for("loaded")
                    worker.go()
                    await first.connect()
                    work = _Work(kit, seen, worker.lines)
                    leaving = asyncio.create_task(work.until(first, 150))
                    await worker.wait_for("did", 5)
                    worker.kill()
                    did = worker.lines("did")
                    await second.connect()
                    await asyncio.gather(leaving, work.until(second, 200))
                    await first.shutdown()
                    await work.until_complete(second, sent)
                    # Read after the kill, so complete.
                    done = [*did, *bodies(seen), *bodies(await second.rest())]
            finally:
                await shut_down([first, second])
            in_flight = 3 * (AT_ONCE + kit.harness.settled_late)
            story = "three workers shared a queue, one was killed and one left"
            balance(sent, done, repeats=in_flight, story=story)

        kit.run(main)

    def test_consumers_that_open_and_close_together_lose_nothing(self, kit: Kit) -> None:
        """Five at once, some without ever consuming; then one gets everything."""

        async def visit(number: int) -> None:
            async with kit.consumer() as consumer:
                if number % 2:
                    await consumer.consume(5, 0)

        async def main() -> None:
            sent = numbered(50)
            await kit.send(*sent)
            await asyncio.gather(*(visit(number) for number in range(5)))
            async with kit.consumer() as consumer:
                seen = await consumer.receive(50)
                await consumer.succeed(seen)
                seen += await consumer.rest()
            balance(sent, bodies(seen), story="five consumers opened and closed at once")

        kit.run(main)

    @proves("groups")
    def test_every_group_gets_every_message(self, kit: Kit) -> None:
        """Two groups that are there from the beginning each get all of it, and settle for themselves."""

        async def main() -> None:
            sent = numbered(30)
            async with kit.consumer(group="one") as one, kit.consumer(group="two") as two, kit.producer() as producer:
                # Both are there before anything is sent: some backends keep nothing for a group that comes later.
                early = asyncio.gather(one.consume(1, kit.harness.quiet), two.consume(1, kit.harness.quiet))
                await early
                await producer.send([kit.record(body, body) for body in sent])
                for name, consumer in (("one", one), ("two", two)):
                    seen = await consumer.receive(30)
                    await consumer.succeed(seen)
                    seen += await consumer.rest()
                    balance(sent, bodies(seen), story=f"two groups read a queue; group {name!r}")

        kit.run(main)

    @proves("groups", probe=False)
    def test_members_of_a_group_share_its_messages(self, kit: Kit) -> None:
        """Two of one group have each message once between them, while another group has all for itself."""

        async def main() -> None:
            sent = numbered(200)
            members = [kit.make_consumer(group="shared") for _ in range(2)]
            async with kit.producer() as producer, kit.consumer(group="alone") as alone:
                await alone.consume(1, kit.harness.quiet)
                try:
                    await asyncio.gather(*(each.connect() for each in members))
                    await kit.settle_in(members, producer)
                    await producer.send([kit.record(body, body) for body in sent])
                    seen: list[QueueMessage] = []
                    work = _Work(kit, seen)
                    await asyncio.gather(*(work.until(each, 200) for each in members))
                finally:
                    await shut_down(members)
                others = [body for body in bodies(await alone.receive(200 + 1_000, patience=kit.patience / 2)) if body]
                mine = [body for body in others if not body.startswith(b"settling-in")]
            balance(sent, bodies(seen), story="two members of one group")
            balance(sent, mine, story="the group beside it")

        kit.run(main)

    @proves("replay")
    def test_what_was_settled_can_be_read_again(self, kit: Kit) -> None:
        """A group that comes later gets messages from the beginning, settled by others or not."""

        async def main() -> None:
            sent = numbered(20)
            await kit.send(*sent)
            async with kit.consumer() as consumer:
                await consumer.succeed(await consumer.receive(20))
            async with kit.consumer(group="later") as consumer:
                balance(sent, bodies(await consumer.receive(20)), story="all was settled, another group came later")

        kit.run(main)


class _Work:
    """Consumers that share what they have seen."""

    def __init__(self, kit: Kit, seen: list[QueueMessage], others: Callable[[str], list[bytes]] | None = None) -> None:
        self._kit = kit
        self._seen = seen
        self._others = others

    async def until(self, consumer: WatchedConsumer, count: int) -> None:
        """Consume and settle until all together have seen so many, or nothing comes any more."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._kit.patience
        while len(self._seen) < count and loop.time() < deadline:
            found = await consumer.consume(AT_ONCE, self._kit.harness.quiet)
            self._seen.extend(found)
            await consumer.succeed(found)
            # The others' turn, also where nothing has waited.
            await asyncio.sleep(0)

    async def until_complete(self, consumer: WatchedConsumer, sent: list[bytes]) -> None:
        """The same until every message was seen by somebody."""
        wanted = set(sent) - set(self._others("did") if self._others else ())
        while wanted - set(bodies(self._seen)) and (found := await consumer.consume(AT_ONCE)):
            self._seen.extend(found)
            await consumer.succeed(found)
