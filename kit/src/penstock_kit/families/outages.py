"""The backend goes away and comes back. As in an engine, queues reconnect by themselves."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from time import monotonic

from penstock.errors import NotConnected
from penstock.message import QueueMessage, Record
from penstock.standalone import InputQueue
from penstock_kit.accounts import balance
from penstock_kit.at_most_once import at_least_once
from penstock_kit.bare import Bare
from penstock_kit.broken import Broken, must
from penstock_kit.kit import Kit, bodies, numbered
from penstock_kit.limits import beside, within

OUTAGE = 1.0  # seconds
HELD = 10  # messages in flight during the outage


class Outages:
    """Nothing is lost, and work continues by itself."""

    def test_an_address_where_nothing_listens_is_not_connected(self, kit: Kit) -> None:
        """Both sides raise `NotConnected` in time, so that the engine tries again. A shutdown then is harmless."""
        kit.needs("nowhere")

        async def main() -> None:
            settings = kit.backend.nowhere(kit.queue)
            for role in kit.roles:
                connector = Bare(kit, role, settings)
                try:
                    await connector.call("connect")
                except NotConnected as error:
                    must(
                        str(error).strip(),
                        "NotConnected says what happened, for logs and the health registry; its text was empty",
                        'connect: NotConnected(f"nothing answers at {address}: {error}")',
                    )
                except Broken:
                    raise
                except Exception as error:
                    raise Broken(
                        f"connect raises NotConnected while the backend is away; it raised {type(error).__name__}: "
                        f"{error}\n    look at: how errors of the client become Penstock's"
                    ) from error
                else:
                    raise Broken(
                        "connect checks that the queue can be reached; it returned although nothing listens there\n"
                        "    look at: connect, which must ask the backend something"
                    )
                finally:
                    await connector.call("shutdown")
                    connector.close()

        kit.run(main)

    @at_least_once
    def test_a_worker_waits_for_a_backend_that_is_down_when_it_starts(self, kit: Kit) -> None:
        """It connects once the backend answers, and gets every message."""
        kit.needs("stop")

        async def main() -> None:
            sent = numbered(10)
            await kit.send(*sent)
            async with kit.input_queue() as queue, beside() as start:
                await asyncio.to_thread(kit.backend.stop_backend)
                try:
                    opening = start(queue.open())
                    await asyncio.sleep(OUTAGE)
                    early = opening.done()
                finally:
                    await asyncio.to_thread(kit.backend.start_backend)
                must(
                    not early,
                    "connect raises NotConnected while the backend is away, so that the engine waits; instead "
                    f"{_ending(opening)}",
                    "connect, and how errors of the client become Penstock's",
                )
                async with _goes_on(3 * kit.timeout, "a worker connects once the backend is there"):
                    await opening
                seen = await _receive(kit, queue, 10)
            balance(sent, bodies(seen), scenario="the backend was down when the worker started")

        kit.run(main)

    @at_least_once
    def test_an_outage_loses_nothing(self, kit: Kit) -> None:
        """It is noticed. Messages in flight are settled or come again, and records produced meanwhile arrive."""
        kit.needs("stop")

        async def main() -> None:
            outages: list[None] = []
            before, meanwhile = numbered(40), numbered(20, "meanwhile/")
            async with (
                kit.input_queue(lambda: outages.append(None)) as source,
                kit.output_queue() as target,
                beside() as start,
            ):
                await source.open()
                await target.open()
                await target.produce([Record(body) for body in before])
                seen = await _receive(kit, source, 20)
                held = seen[-HELD:]
                await source.on_success(seen[:-HELD])
                await asyncio.to_thread(kit.backend.stop_backend)
                try:
                    receiving = start(_receive(kit, source, 40, settle=True))
                    producing = start(target.produce([Record(body) for body in meanwhile]))
                    await asyncio.sleep(OUTAGE)
                    early = producing.done()
                finally:
                    await asyncio.to_thread(kit.backend.start_backend)
                must(
                    not early,
                    "nothing is confirmed, and nothing refused for good, while the backend is away; produce returned",
                    "produce: it returns when the backend has confirmed, or raises NotConnected",
                )
                async with _goes_on(4 * kit.timeout, "a producer goes on once the backend is back"):
                    await producing
                seen += await receiving
                # Half of the messages in flight are settled only now, half are left to the next consumer.
                await source.on_success(held[::2])
                seen += await _settle_missing(kit, source, {*before, *meanwhile}, seen)
            left = {message.message for message in held[1::2]}
            counts = Counter(bodies(seen))
            again = {body for body in left if counts[body] > 1}
            # A record that was sent twice may come as well, and where it is declared what was settled late.
            others = {*meanwhile, *(before if kit.backend.settled_late else ())} - left
            deadline = monotonic() + kit.timeout
            async with kit.consumer() as successor:
                while left - again and (seconds := deadline - monotonic()) > 0:
                    again |= {*bodies(await successor.receive(1, timeout=seconds))} - others
            must(
                outages,
                "an outage is noticed: consume raises NotConnected, so that health can say why; it did not",
                "consume and on_success, when the client only logs that its server is away",
            )
            # A record whose confirmation was lost is sent again, so it may be there twice.
            repeats = HELD + kit.backend.settled_late + len(meanwhile)
            balance(
                [*before, *meanwhile], bodies(seen), repeats=repeats, scenario=f"the backend was away for {OUTAGE:g} s"
            )
            look = "connect after NotConnected: what was in flight is still ours, or is requeued"
            balance(left, again, scenario="in flight during an outage, and never settled", look=look)

        kit.run(main)

    @at_least_once
    def test_a_restart_loses_nothing(self, kit: Kit) -> None:
        """The server restarts while messages are in flight: each can be settled or comes again."""
        kit.needs("restart")

        async def main() -> None:
            sent = numbered(60)
            async with kit.input_queue() as source, kit.output_queue() as target:
                await source.open()
                await target.open()
                await target.produce([Record(body) for body in sent[:40]])
                seen = await _receive(kit, source, 20)
                await source.on_success(seen[:-HELD])
                await asyncio.to_thread(kit.backend.restart_backend)
                async with _goes_on(4 * kit.timeout, "a worker goes on after a restart of the server"):
                    await source.on_success(seen[-HELD:])
                    await target.produce([Record(body) for body in sent[40:]])
                seen += await _settle_missing(kit, source, sent, seen)
            repeats = HELD + kit.backend.settled_late + 20
            look = "connect after NotConnected: it goes on where it was, neither at the beginning nor at the end"
            scenario = f"the server restarted with {HELD} messages in flight"
            balance(sent, bodies(seen), repeats=repeats, scenario=scenario, look=look)

        kit.run(main)

    @at_least_once
    def test_a_backend_that_hangs_confirms_nothing(self, kit: Kit) -> None:
        """It is paused with open connections: `produce` waits or raises. When it continues, so does everything else."""
        kit.needs("pause")

        async def main() -> None:
            sent = numbered(20)
            async with kit.input_queue() as source, kit.output_queue() as target, beside() as start:
                await source.open()
                await target.open()
                await target.produce([Record(body) for body in sent[:10]])
                seen = await _receive(kit, source, 5)
                await source.on_success(seen)
                try:
                    await asyncio.to_thread(kit.backend.pause_backend)
                    producing = start(target.produce([Record(body) for body in sent[10:]]))
                    receiving = start(source.consume(10, OUTAGE / 2))
                    await asyncio.sleep(OUTAGE)
                    early = producing.done()
                finally:
                    await asyncio.to_thread(kit.backend.resume_backend)
                must(
                    not early,
                    "nothing is confirmed by a backend that does not answer; produce returned",
                    "produce: it returns when the backend has confirmed",
                )
                async with _goes_on(4 * kit.timeout, "everything goes on when the backend does"):
                    await producing
                    found = list(await receiving)
                seen += found
                await source.on_success(found)
                seen += await _settle_missing(kit, source, sent, seen)
            repeats = 10 + 10 + kit.backend.settled_late
            balance(sent, bodies(seen), repeats=repeats, scenario=f"the backend hung for {OUTAGE:g} s")

        kit.run(main)

    def test_connecting_again_changes_nothing(self, kit: Kit) -> None:
        """`connect` is called again after each `NotConnected`, even if only one call failed: messages in flight stay
        ours or come again, and waiting messages come once."""

        async def main() -> None:
            sent = numbered(30)
            async with kit.producer() as producer, kit.consumer() as consumer:
                await producer.send([Record(body) for body in sent[:15]])
                held = await consumer.receive(5)
                for _again in range(2):
                    await consumer.connect()
                    await producer.connect()
                await producer.send([Record(body) for body in sent[15:]])
                late = await consumer.succeed(held)
                rest = await consumer.receive(25 + late)
                await consumer.succeed(rest)
                rest += await consumer.rest()
            again = len(set(bodies(held)) & set(bodies(rest)))
            scenario = "connect was called again, twice, with 5 messages in flight"
            look = "connect while a connection lives: what it subscribes, starts or forgets a second time"
            balance(sent, bodies([*held, *rest]), repeats=late, scenario=scenario, look=look)
            must(
                again == late,
                f"{scenario}; on_success said that {late} of them were no longer ours, so {late} come again; it were "
                f"{again}",
                look,
            )

        kit.run(main)


def _ending(opening: asyncio.Task[None]) -> str:
    error = opening.exception() if opening.done() and not opening.cancelled() else None
    return f"it raised {error!r}" if error is not None else "it returned"


def _goes_on(seconds: float, promise: str) -> AbstractAsyncContextManager[None]:
    return within(
        seconds,
        f"{promise}; it had not after {seconds:g} s",
        "connect, which is called again after NotConnected and must make a new connection; calls that wait for an "
        "answer of the old one without a timeout; waits of the client between two attempts, which grow",
    )


async def _receive(kit: Kit, queue: InputQueue, count: int, *, settle: bool = False) -> list[QueueMessage]:
    """Consume up to `count` messages, for as long as an outage may delay them."""
    messages: list[QueueMessage] = []
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 3 * kit.timeout
    while len(messages) < count and loop.time() < deadline:
        found: Sequence[QueueMessage] = await queue.consume(count - len(messages), kit.backend.idle_timeout)
        messages += found
        # Settling an empty list might reach the backend.
        if settle and found:
            await queue.on_success(found)
    return messages


async def _settle_missing(
    kit: Kit, queue: InputQueue, sent: Collection[bytes], seen: Sequence[QueueMessage]
) -> list[QueueMessage]:
    """Consume and settle until every sent message has come, or no more come."""
    found: list[QueueMessage] = []
    while set(sent) - set(bodies(seen)) - set(bodies(found)) and (more := await _receive(kit, queue, 1)):
        found += more
        await queue.on_success(more)
    return found
