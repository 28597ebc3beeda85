"""Consumers join, leave and die under load; each group gets every message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from penstock.message import QueueMessage
from penstock_kit.accounts import balance
from penstock_kit.at_most_once import at_least_once
from penstock_kit.capability import proves
from penstock_kit.children import children
from penstock_kit.families.basics import share
from penstock_kit.kit import Kit, bodies, numbered
from penstock_kit.limits import aside, until
from penstock_kit.watched import WatchedConsumer, shut_down

AT_ONCE = 10  # messages in flight a consumer
WORK_SECONDS = 0.01  # seconds of work for a batch, so that there is always more to do
TURNS = 8  # rounds in which two consumers consume at the same time
MOST_SENT = 3_000  # messages of a load
FIRST_MESSAGE = 20.0  # seconds that a load goes on until a member has a message; a stand-by gets none


class Membership:
    """Several consumers of one queue, several groups."""

    @at_least_once
    def test_workers_that_join_leave_and_die_lose_nothing(self, kit: Kit) -> None:
        """Under load, one is killed, one joins and leaves, one joins and stays: at most the messages in flight are
        repeated."""
        kit.needs("processes")

        async def main() -> None:
            crew = Crew(kit)
            with children(kit) as maker:
                worker = maker.start("work", batch=AT_ONCE)
                await worker.wait_for("loaded")
                worker.go()
                async with crew.load():
                    await worker.wait_for("did", 5)
                    async with crew.member() as staying:
                        async with crew.member():
                            # It may get none any more: then it dies idle.
                            await worker.kill_in_the_middle(1.0)
                            # What it had not begun to settle must come again, done or not.
                            killed_one = worker.lines("settles")
                        crew.stop_sending()
                        missing = set(crew.sent) - set(killed_one)
                        await until(lambda: missing <= set(bodies(crew.seen)), 3 * kit.timeout)
                        done = staying.count
            in_flight = 3 * (AT_ONCE + kit.backend.settled_late)
            scenario = f"three workers shared a queue, one was killed, one left, the last did {done}"
            balance(crew.sent, [*killed_one, *bodies(crew.seen)], repeats=in_flight, scenario=scenario)

        kit.run(main)

    @at_least_once
    def test_what_is_in_flight_while_another_joins_is_not_lost(self, kit: Kit) -> None:
        """One holds messages, a second joins and works, the first leaves without settling any: the second gets all."""

        async def main() -> None:
            sent = numbered(60)
            async with kit.producer() as producer:
                await producer.send([kit.record(body, body) for body in sent])
            first = kit.make_consumer()
            try:
                await first.connect()
                held = await first.receive(20)
                async with kit.consumer() as second:
                    seen: list[QueueMessage] = []
                    for _turn in range(TURNS):
                        found = await second.consume(10, kit.backend.idle_timeout)
                        await second.succeed(found)
                        seen += found
                        # It goes on asking, as an engine with room does, by which some hear of the second.
                        held += await first.consume(1, 0)
                    await first.shutdown()
                    while set(sent) - set(bodies(seen)) and (found := await second.consume()):
                        await second.succeed(found)
                        seen += found
            finally:
                await first.shutdown()
            scenario = f"one of two held {len(held)} of 60 messages, some of them when the other came, and left"
            look = (
                "what a consumer commits or settles when others join, or when it closes: only what on_success was given"
            )
            repeats = len(held) + kit.backend.settled_late
            balance(sent, bodies(seen), repeats=repeats, scenario=scenario, look=look)

        kit.run(main)

    @at_least_once
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
            balance(sent, bodies(seen), scenario="five consumers opened and closed at once")

        kit.run(main)

    @at_least_once
    @proves("groups")
    def test_every_group_gets_every_message(self, kit: Kit) -> None:
        """Two groups that exist from the start each get every message, and settle independently."""

        async def main() -> None:
            sent = numbered(30)
            async with kit.consumer(group="one") as one, kit.consumer(group="two") as two, kit.producer() as producer:
                # Both join before anything is sent, because some backends keep nothing for later groups.
                early = asyncio.gather(
                    one.consume(1, kit.backend.idle_timeout), two.consume(1, kit.backend.idle_timeout)
                )
                await early
                await producer.send([kit.record(body, body) for body in sent])
                for name, consumer in (("one", one), ("two", two)):
                    seen = await consumer.receive(30)
                    await consumer.succeed(seen)
                    seen += await consumer.rest()
                    look = "how the option that names the group reaches the backend"
                    balance(sent, bodies(seen), scenario=f"two groups read a queue; group {name!r}", look=look)

        kit.run(main)

    @proves("groups", probe=False)
    def test_members_of_a_group_share_its_messages(self, kit: Kit) -> None:
        """Two consumers of one group share the messages, while another group gets all of them."""

        async def main() -> None:
            sent = numbered(200)
            members = [kit.make_consumer(group="shared") for _ in range(2)]
            async with kit.producer() as producer, kit.consumer(group="alone") as alone:
                await alone.consume(1, kit.backend.idle_timeout)
                try:
                    await asyncio.gather(*(each.connect() for each in members))
                    await kit.settle_in(members, producer)
                    await producer.send([kit.record(body, body) for body in sent])
                    seen = await share(kit, members, 200)
                finally:
                    await shut_down(members)
                others = [body for body in bodies(await alone.receive(200 + 1_000, timeout=kit.timeout / 2)) if body]
                mine = [body for body in others if not body.startswith(b"settling-in")]
            look = "how the option that names the group reaches the backend: the same for both"
            balance(sent, bodies(seen), scenario="two members of one group", look=look)
            balance(sent, mine, scenario="the group beside it")

        kit.run(main)

    @proves("replay")
    def test_what_was_settled_can_be_read_again(self, kit: Kit) -> None:
        """A later group gets all messages from the first one, whether other groups have settled them or not."""

        async def main() -> None:
            sent = numbered(20)
            await kit.send(*sent)
            async with kit.consumer() as consumer:
                await consumer.succeed(await consumer.receive(20))
            async with kit.consumer(group="later") as consumer:
                look = "where a later group starts: with the oldest message, or do not declare replay"
                scenario = "all was settled, another group came later"
                balance(sent, bodies(await consumer.receive(20)), scenario=scenario, look=look)

        kit.run(main)

    @proves("seek")
    def test_a_group_is_moved_to_another_place(self, kit: Kit) -> None:
        """To the beginning, to a message, to a time, to the end; by a consumer that is not in the group."""

        async def main() -> None:
            sent = numbered(12)
            async with kit.producer() as producer:
                # One key: where there are partitions, all are in the same one.
                await producer.send([kit.record(body, key=b"key") for body in sent])
            await asyncio.sleep(0.05)
            between = datetime.now(UTC)
            later = [b"later-%d" % number for number in range(3)]
            async with kit.producer() as producer:
                await producer.send([kit.record(body, key=b"key") for body in later])
            positions: dict[bytes | None, str] = {}
            await _read_from(kit, None, [*sent, *later], positions)
            await _read_from(kit, "beginning", [*sent, *later], positions)
            await _read_from(kit, positions[sent[5]], [*sent[5:], *later], positions)
            await _read_from(kit, between, later, positions)
            await _read_from(kit, "end", [b"newest"], positions)

        kit.run(main)


async def _read_from(
    kit: Kit, place: str | datetime | None, expected: Sequence[bytes], positions: dict[bytes | None, str]
) -> None:
    """Move the group while it has no members, then read and settle as a member."""
    if place is not None:
        async with kit.browser() as tool:
            await tool.seek(place)
    if place == "end":
        await kit.send(*expected)
    async with kit.consumer() as consumer:
        messages = await consumer.receive(len(expected))
        messages += await consumer.rest()
        scenario = f"15 messages were settled, then the group was moved: seek({place!r})" if place else "nothing yet"
        look = "seek: the group goes on there when it reads again; nothing before comes, and nothing behind is missing"
        balance(expected, bodies(messages), scenario=scenario, look=look)
        positions.update((message.message, message.position) for message in messages)
        await consumer.succeed(messages)


class Member:
    """A consumer at work.

    Attributes:
        count: How many messages it has settled.
    """

    def __init__(self, consumer: WatchedConsumer) -> None:
        self.consumer = consumer
        self.count = 0


class Crew:
    """Consumers that join and leave, and a producer that keeps them busy.

    Attributes:
        sent, seen: All bodies that were sent, and all messages that the members got.
    """

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._sending = True
        self.sent: list[bytes] = []
        self.seen: list[QueueMessage] = []

    @asynccontextmanager
    async def load(self) -> AsyncIterator[None]:
        """Send messages until `stop_sending`."""
        async with aside(self._send()) as sending:
            yield
            self.stop_sending()
            await sending

    def stop_sending(self) -> None:
        """End the load."""
        self._sending = False

    async def _send(self) -> None:
        async with self._kit.producer() as producer:
            while self._sending and len(self.sent) < MOST_SENT:
                bodies = [b"%d" % number for number in range(len(self.sent), len(self.sent) + 30)]
                # Noted before they are sent, because a member may see them at once.
                self.sent += bodies
                await producer.send([self._kit.record(body, body) for body in bodies])
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def member(self) -> AsyncIterator[Member]:
        """A member that has joined, and works until the end of the block."""
        async with self._kit.consumer() as consumer:
            member, leaving = Member(consumer), asyncio.Event()
            async with aside(self._work(member, leaving)) as work:
                await until(lambda: member.count > 0 or work.done(), min(2 * self._kit.timeout, FIRST_MESSAGE))
                yield member
                leaving.set()
                await work

    async def _work(self, member: Member, leaving: asyncio.Event) -> None:
        while not leaving.is_set():
            found = await member.consumer.consume(AT_ONCE, self._kit.backend.idle_timeout)
            self.seen.extend(found)
            member.count += len(found)
            await member.consumer.succeed(found)
            await asyncio.sleep(WORK_SECONDS)
