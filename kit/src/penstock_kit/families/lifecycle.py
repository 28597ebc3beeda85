"""Connecting, shutting down, what is left afterwards, and the lag."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from penstock.message import Record
from penstock_kit.bare import Bare
from penstock_kit.broken import Broken, must
from penstock_kit.capability import declares, proves
from penstock_kit.kit import Kit, numbered
from penstock_kit.limits import until
from penstock_kit.watched import WatchedConsumer

ROUNDS = 3  # how often everything is opened and closed; each round shows a leak once
DELAY = 0.5  # seconds
FETCHED, LOOKS = 0.4, 20  # seconds that a client may need to fetch a message, and how often the lag is asked then
GONE_WITHIN = 3.0  # seconds for threads and sockets to end after shutdown has returned


class Lifecycle:
    """`connect`, `shutdown`, `lag`."""

    def test_a_second_shutdown_is_harmless(self, kit: Kit) -> None:
        """It neither raises nor waits, for consumer and producer."""

        async def main() -> None:
            for role in kit.roles:
                connector = Bare(kit, role)
                try:
                    await connector.call("connect")
                    await connector.call("shutdown")
                    await _quietly(connector, "a second shutdown")
                finally:
                    connector.close()

        kit.run(main)

    def test_a_shutdown_without_a_connection_is_harmless(self, kit: Kit) -> None:
        """As after a failed `connect`."""

        async def main() -> None:
            for role in kit.roles:
                connector = Bare(kit, role)
                try:
                    await _quietly(connector, "a shutdown after a connect that failed")
                finally:
                    connector.close()

        kit.run(main)

    def test_nothing_is_left_after_a_shutdown(self, kit: Kit) -> None:
        """No thread, socket, file or task stays, however often a queue is opened and closed."""

        async def round_trip() -> None:
            async with kit.producer() as producer, kit.consumer() as consumer:
                await producer.send([Record(b"x")])
                await consumer.succeed([await consumer.one()])

        async def main() -> None:
            # A client library may start things once and keep them; it does so here.
            await round_trip()
            before = Footprint.now()
            for _round in range(ROUNDS):
                await round_trip()
            gone = await until(lambda: not Footprint.now().beyond(before), GONE_WITHIN)
            must(
                gone,
                f"nothing is left after shutdown; after {ROUNDS} times opening and closing there are "
                f"{Footprint.now().beyond(before)}",
                "shutdown: threads to be joined, sockets to be closed, tasks to be cancelled and awaited",
            )

        kit.run(main)

    def test_making_a_connector_does_nothing(self, kit: Kit) -> None:
        """No thread and no socket, because a configuration is checked and an engine built without a backend."""

        async def main() -> None:
            for role in kit.roles:
                resolved = kit.resolve(role, kit.config())
                before = Footprint.now()
                connector = resolved.connector_class(resolved.value, resolved.options)
                left = Footprint.now().beyond(before, most=0)
                must(
                    not left,
                    f"making a connector does no I/O and starts nothing; {type(connector).__name__} left {left}",
                    "__init__: move what it opens to connect",
                )

        kit.run(main)

    @proves("lag")
    def test_lag_tells_how_many_messages_wait(self, kit: Kit) -> None:
        """Messages in flight are not counted. It is 0 only when the queue is empty."""

        async def main() -> None:
            async with kit.producer() as producer, kit.consumer() as consumer:
                # A client knows all partitions of a queue once it has read the queue to its end.
                await producer.send([kit.held(b"first")])
                await consumer.succeed([await consumer.one()])
                await consumer.find_empty(kit.backend.idle_timeout, 1)
                await producer.send([kit.held(body) for body in numbered(20)])
                known: set[int] = set()
                for taken in range(1, 21):
                    message = await consumer.one()
                    known |= await _lag(consumer, 20 - taken, kit, f"{taken} of 20 messages were taken")
                    if taken % 2:
                        await consumer.succeed([message])
                        known |= await _lag(consumer, 20 - taken, kit, f"{taken} were taken, the last is settled")
                await consumer.find_empty(kit.backend.idle_timeout, 1)
                known |= await _lag(consumer, 0, kit, "the queue is empty")
            must(
                0 in known and len(known) > 5,
                f"lag tells how many messages wait; while 20 were taken one by one it knew only {sorted(known)}",
                "lag: None is for a backend that cannot tell, which then does not declare it",
            )

        kit.run(main)

    @proves("lag", probe=False)
    def test_lag_is_not_zero_while_a_message_waits(self, kit: Kit) -> None:
        """Not even just after it was requeued: a drain must not stop too early."""

        async def main() -> None:
            async with kit.producer() as producer, kit.consumer() as consumer:
                await producer.send([Record(b"x")])
                for _again in range(3):
                    message = await consumer.one()
                    await consumer.fail([message])
                    lag = await consumer.lag()
                    must(
                        lag != 0,
                        "lag is 0 only when nothing waits; one message had just been requeued, and lag said 0",
                        "lag: messages that wait inside of the connector to be delivered again count as well",
                    )

        kit.run(main)

    @proves("lag", probe=False)
    def test_lag_counts_what_the_client_has_fetched(self, kit: Kit) -> None:
        """A request may still wait after `consume` was empty. What it brings counts: a drain must not stop before."""

        async def main() -> None:
            async with kit.producer() as producer, kit.consumer() as consumer:
                for again in range(3):
                    await consumer.find_empty(kit.backend.idle_timeout if consumer.inner.keep_polling else 0.0, 1)
                    await producer.send([kit.record(b"%d" % again, b"k")])
                    lag = await _lag_of_fetched(consumer, kit.timeout)
                    must(
                        lag != 0,
                        "lag is 0 only when nothing waits; a message was stored after an empty consume, no consume has "
                        "returned it, and lag said 0",
                        "lag: what a request under way has taken from the queue, and what the client keeps",
                    )
                    await consumer.succeed([await consumer.one()])

        kit.run(main)

    @proves("lag", probe=False)
    def test_lag_counts_what_a_delay_holds_back(self, kit: Kit) -> None:
        """A delayed record or a requeued message counts while it waits: a drain must not stop before it comes."""
        records, requeues = (declares(kit.capabilities, name) for name in ("record_delay", "requeue_delay"))
        if not (records or requeues):
            kit.not_declared("record_delay and requeue_delay, so nothing is held back")
        kit.needs("lag")

        async def main() -> None:
            async with kit.producer() as producer, kit.consumer() as consumer:
                await producer.send([Record(b"x", delay=DELAY if records else 0.0)])
                if records:
                    await _waits(consumer, f"a record was produced with a delay of {DELAY:g} s")
                message = await consumer.one()
                if requeues:
                    await consumer.fail([message], DELAY)
                    await _waits(consumer, f"a message was requeued with a delay of {DELAY:g} s")
                    message = await consumer.one()
                await consumer.succeed([message])

        kit.run(main)


@dataclass(frozen=True)
class Footprint:
    """The threads, descriptors and tasks of this process, by their identities."""

    threads: Set[object]
    native_threads: Set[object]
    descriptors: Set[object]
    tasks: Set[object]

    @classmethod
    def now(cls) -> Footprint:
        """What this process has now."""
        # Without the event loop's own pool, which may grow by a thread or two.
        pool = {thread.native_id for thread in threading.enumerate() if thread.name.startswith("asyncio_")}
        threads = {thread.ident for thread in threading.enumerate() if thread.native_id not in pool}
        return cls(
            threads,
            {task for task in _entries("/proc/self/task") if int(task.name) not in pool},
            {(entry, target) for entry in _entries("/dev/fd") if (target := _target(entry))},
            {id(task) for task in asyncio.all_tasks()},
        )

    def beyond(self, before: Footprint, most: int = ROUNDS - 1) -> str:
        """Words for what is new since `before`; "" if there are at most `most` new ones of each kind."""
        new = {
            "threads": self.threads - before.threads,
            "threads of a client library": self.native_threads - before.native_threads,
            "open sockets or files": self.descriptors - before.descriptors,
            "tasks of the event loop": self.tasks - before.tasks,
        }
        return ", ".join(f"{len(found)} more {what}" for what, found in new.items() if len(found) > most)


def _entries(directory: str) -> Set[Path]:
    # Some systems do not have it; then nothing is compared.
    place = Path(directory)
    return {place / name for name in os.listdir(place)} if place.is_dir() else set()


def _target(descriptor: Path) -> str:
    try:
        return os.readlink(descriptor)
    except OSError:
        return ""  # the descriptor of the listing itself, closed by now, or a system without links


async def _lag_of_fetched(consumer: WatchedConsumer, timeout: float) -> int | None:
    """The lowest lag while the client has time to fetch a message; one that must be polled hears of it then."""
    if consumer.inner.keep_polling:
        deadline = monotonic() + timeout
        while (lag := await consumer.lag()) == 0 and monotonic() < deadline:
            await consumer.consume(0, 0.0)
            await asyncio.sleep(FETCHED / LOOKS)
        return lag
    known: set[int | None] = set()
    for _look in range(LOOKS):
        known.add(await consumer.lag())
        await asyncio.sleep(FETCHED / LOOKS)
    return 0 if 0 in known else known.pop()


async def _quietly(connector: Bare, what: str) -> None:
    try:
        await connector.call("shutdown")
    except Broken:
        raise
    except Exception as error:
        raise Broken(
            f"{what} is harmless; it raised {error!r}\n    look at: shutdown, when there is nothing to shut down"
        ) from error


async def _waits(consumer: WatchedConsumer, scenario: str) -> None:
    lag = await consumer.lag()
    must(
        lag != 0,
        f"lag is 0 only when nothing waits, now or later; {scenario}, and lag said 0",
        "lag: count what is held back as well; if the backend cannot tell, the fixture says so: cannot = {'lag': …}",
    )


async def _lag(consumer: WatchedConsumer, wanted: int, kit: Kit, scenario: str) -> set[int]:
    """Wait until the lag is true. Returns it, or nothing if it is unknown."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + kit.timeout
    # Some backends need a moment. Until then the lag may be wrong, but it must not be 0.
    while (lag := await consumer.lag()) is not None and lag != wanted:
        must(
            lag != 0,
            f"lag is 0 only when nothing waits; {scenario}, so {wanted} wait, and it said 0",
            "lag: what it counts. An engine that works until its queue is empty stops at 0",
        )
        must(
            loop.time() < deadline,
            f"lag tells how many messages wait, those in flight not counted; {scenario}, so it is {wanted}; it said "
            f"{lag} for {kit.timeout:g} s",
            "lag: neither what is settled counts, nor what was delivered and is not settled yet",
        )
        await asyncio.sleep(0.02)
    return set() if lag is None else {lag}
