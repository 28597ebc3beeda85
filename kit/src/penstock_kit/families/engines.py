"""An engine on the connector keeps Penstock's promises to its users, from end to end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from penstock import Output, dead_letters
from penstock.connectors import Producer
from penstock.message import Record
from penstock_kit.accounts import balance, shown, shown_headers
from penstock_kit.at_most_once import at_least_once
from penstock_kit.broken import must
from penstock_kit.capability import declares
from penstock_kit.families.lifecycle import GONE_WITHIN, ROUNDS, Footprint
from penstock_kit.kit import Kit, bodies, numbered
from penstock_kit.limits import until
from penstock_kit.running import APP, DEAD, IN, OUT, Running, everything_in, queues

EVERY_BYTE = bytes(range(256))
TRACE = ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
"""The W3C's header that says which trace a message belongs to."""

TEXT = "this cannot be done: " + "ä" * 700
"""The text of the function's error, as long as texts in dead letters can be."""

MOST = 7  # messages in flight
LONGER = 2.5  # how many leases, or times of frozen_after, a long function call lasts


class Engines:
    """One function between queues of the connector, in one process."""

    def test_an_output_carries_key_headers_and_trace_context(self, kit: Kit) -> None:
        """Byte for byte, in an envelope if the backend has no headers or keys."""

        async def main() -> None:
            headers = [("a", EVERY_BYTE), TRACE, ("a", b"")]
            output = Output(OUT, EVERY_BYTE, key=b"k\xff", headers=headers)
            async with Running(kit, lambda _body: output, lambda: kit.send(b"x")) as running:
                await running.until_done(1)
            (found,) = await everything_in(kit, OUT, 1)
            must(
                (found.message, found.key, list(found.headers)) == (EVERY_BYTE, b"k\xff", headers),
                "an output arrives with its key and its headers, the trace context among them; of "
                f"{shown_headers(headers)} and the key b'k\\xff' there came {shown_headers(found.headers)} and "
                f"{shown(found.key)}",
                "headers that a client library drops, or writes over with its own (instrumentation does that)",
            )

        kit.run(main)

    def test_a_dead_letter_is_whole_and_says_why(self, kit: Kit) -> None:
        """After three failed calls the message is in the dead-letter queue, once, with body, key and headers byte for
        byte, and with the reason, the attempts and its origin."""

        def refuse(_body: bytes) -> None:
            raise ValueError(TEXT)

        async def main() -> None:
            sent = Record(EVERY_BYTE, b"k\xff", [("a", EVERY_BYTE), TRACE, ("a", b"")])

            async def send() -> None:
                async with kit.output_queue() as queue:
                    await queue.open()
                    await queue.produce([sent])

            async with Running(kit, refuse, send) as running:
                await running.until_done(1)
            letters = [dead_letters.read(message) for message in await everything_in(kit, DEAD, 1)]
            must(
                len(letters) == 1,
                f"one message gave up makes one dead letter; there are {len(letters)}",
                "what produce stores",
            )
            (letter,) = letters
            again = letter.record
            must(
                (again.message, again.key, list(again.headers)) == (sent.message, sent.key, list(sent.headers)),
                "a dead letter keeps body, key and headers byte for byte, so that it can be replayed; "
                f"{shown_headers(sent.headers)} came as {shown_headers(again.headers)}, the key {shown(sent.key)} as "
                f"{shown(again.key)}, "
                f"{len(sent.message or b'')} bytes as {len(again.message or b'')}",
                "limits of the backend on the number, the length or the names of headers",
            )
            said = (letter.stage, letter.error_type, letter.attempts, letter.queue, letter.app)
            origin = kit.config().get("value", kit.queue)
            must(
                said == ("function", "ValueError", 3, origin, APP) and letter.error_text == TEXT and letter.position,
                "a dead letter says what failed, why, how often it was tried and where it came from; it says "
                f"{said}, {letter.error_text[:40]!r} ({len(letter.error_text)} characters), position "
                f"{letter.position!r}",
                "limits of the backend on headers: a dead letter brings eight of its own, one of about 1,500 bytes",
            )
            async with kit.consumer() as consumer:
                balance((), bodies(await consumer.rest()), scenario="the message was dead-lettered")

        kit.run(main)

    def test_the_dead_letter_of_a_large_message_is_stored(self, kit: Kit) -> None:
        """It is larger than its message, by what it says about the failure."""

        def refuse(_body: bytes) -> None:
            raise ValueError(TEXT)

        async def main() -> None:
            body = b"x" * kit.backend.largest_body
            async with Running(kit, refuse, lambda: kit.send(body)) as running:
                await running.until_done(1)
            letters = [dead_letters.read(message) for message in await everything_in(kit, DEAD, 1)]
            must(
                [(letter.record.message, letter.stage) for letter in letters] == [(body, "function")],
                f"a message of {len(body):,} bytes gave up, and its dead letter says why; there came {len(letters)} "
                f"of the stages {[letter.stage for letter in letters]}",
                "the largest record that produce takes: a dead letter has up to 8 KiB of headers beside its message; "
                "or lower largest_body of the fixture by that, and write the limit into the README",
            )

        kit.run(main)

    @at_least_once
    def test_a_message_stays_until_its_dead_letter_is_stored(self, kit: Kit) -> None:
        """If the dead-letter queue does not answer and the worker stops, the message is still in its own queue."""

        def refuse(_body: bytes) -> None:
            raise ValueError

        async def main() -> None:
            sent = numbered(3)
            await kit.send(*sent)
            NeverConfirms.asked.clear()
            away = {"name": DEAD, "producer": NeverConfirms, "serializer": None, "model_handler": None}
            configuration = [*(each for each in queues(kit) if each["name"] != DEAD), away]
            async with Running(kit, refuse, configuration=configuration, shutdown_timeout=0.2) as running:
                await running.until(
                    lambda: len(NeverConfirms.asked) >= len(sent),
                    "an engine sends messages that failed for good to its dead-letter queue",
                    "consume: what waits in the queue is delivered",
                )
            async with kit.consumer() as successor:
                left = bodies(await successor.receive(3))
            look = "shutdown: what is not settled goes back to the backend"
            balance(sent, left, scenario="three dead letters were not confirmed, and the worker stopped", look=look)

        kit.run(main)

    def test_no_more_is_in_flight_than_was_allowed(self, kit: Kit) -> None:
        """With `max_in_flight: 7` and a function that hangs, the other 93 messages stay in the backend."""
        release = asyncio.Event()
        done: list[bytes] = []

        async def wait(body: bytes) -> None:
            await release.wait()
            done.append(body)

        async def main() -> None:
            sent = numbered(100)
            async with Running(kit, wait, lambda: kit.send(*sent), max_in_flight=MOST) as running:
                await running.until(
                    lambda: running.in_flight > 0,
                    "an engine takes messages that wait",
                    "consume: what waits in the queue is delivered",
                )
                await asyncio.sleep(3 * kit.backend.idle_timeout)  # time to take more than allowed
                must(
                    running.in_flight <= MOST,
                    f"no more than max_in_flight messages are in flight; of {MOST} allowed there were "
                    f"{running.in_flight}",
                    "consume, which must not return more than it is asked for",
                )
                if declares(kit.capabilities, "lag"):
                    await _check_waiting(kit, running)
                release.set()
                await running.until_done(100)
            balance(sent, done, scenario=f"an engine with max_in_flight={MOST} was held up, and went on")

        kit.run(main)

    def test_a_function_that_takes_long_keeps_its_messages(self, kit: Kit) -> None:
        """Longer than a lease or a session lasts: nothing is delivered a second time, and nothing is late."""
        if not declares(kit.capabilities, "lease") and kit.backend.frozen_after is None:
            kit.not_promised("without leases, and without frozen_after, a delivery never ends by itself")
        if declares(kit.capabilities, "lease"):
            kit.needs("lease")
        calls: list[bytes] = []

        async def main() -> None:
            await kit.send(*numbered(3), **kit.backend.short_lease)
            async with kit.consumer(**kit.backend.short_lease) as looking:
                span = LONGER * max(looking.lease or 0.0, kit.backend.frozen_after or 0.0)

            def work(body: bytes) -> None:
                calls.append(body)
                if len(calls) == 1:
                    time.sleep(span)

            async with Running(kit, work, configuration=queues(kit, **kit.backend.short_lease)) as running:
                await running.until_done(3, extra=span)
                late = running.counted("penstock_late_settlements_total")
            scenario = f"the function took {span:.1f} s for the first of three messages"
            look = (
                "extend, where there are leases; the membership of a group while a function runs, where there are not"
            )
            balance(numbered(3), calls, scenario=scenario, look=look)
            must(late == 0, f"{scenario}, which the engine waits for; yet {late} settlements were late", look)

        kit.run(main)

    def test_an_engine_shows_the_standard_metrics(self, kit: Kit) -> None:
        """Received, settled, produced and dead-lettered messages, counted exactly, by app, queue and connector."""

        def work(body: bytes) -> Output:
            if body == b"3":
                raise ValueError
            return Output(OUT, body)

        async def main() -> None:
            async with Running(kit, work, lambda: kit.send(*numbered(10))) as running:
                await running.until_done(10)
                connected = [running.counted("penstock_connected", to_queue=name) for name in (IN, OUT, DEAD)]
                found = {
                    name: running.counted(
                        f"penstock_{metric}_total", app=APP, queue=IN, connector=kit.connector, **more
                    )
                    for name, metric, more in (
                        ("received", "messages_received", {}),
                        ("succeeded", "messages_settled", {"outcome": "succeeded"}),
                        ("dead-lettered", "messages_settled", {"outcome": "dead_lettered"}),
                        ("produced", "records_produced", {"to_queue": OUT}),
                        ("late", "late_settlements", {}),
                        ("reconnects", "reconnects", {"to_queue": IN}),
                    )
                }
            wanted = {"received": 10, "succeeded": 9, "dead-lettered": 1, "produced": 9, "late": 0, "reconnects": 0}
            must(
                found == wanted,
                f"an engine counts what it does; of ten messages one failed, so it is {wanted}, but its metrics say "
                f"{ {name: value for name, value in found.items() if value != wanted[name]} }",
                "what on_success returns (how many were late), what produce answers, what raises NotConnected",
            )
            must(
                connected == [1, 1, 1],
                f"penstock_connected is 1 for each queue while it works; for {IN}, {OUT} and {DEAD} it was {connected}",
                "calls that raise NotConnected although the backend is there",
            )

        kit.run(main)

    @at_least_once
    def test_an_engine_that_is_cancelled_leaves_nothing(self, kit: Kit) -> None:
        """In the middle of its work, by a program with its own event loop: no thread, socket or task stays, and all
        messages are still there."""

        async def main() -> None:
            sent = numbered(10)
            await kit.send(*sent)
            await _begin_and_cancel(kit)
            before = Footprint.now()
            for _round in range(ROUNDS):
                await _begin_and_cancel(kit)
            scenario = f"engines were cancelled in the middle of their work, {ROUNDS} times"
            must(
                await until(lambda: not Footprint.now().beyond(before), GONE_WITHIN),
                f"an engine that was cancelled leaves nothing; {scenario}, there are {Footprint.now().beyond(before)}",
                "shutdown while messages are in flight: threads to join, sockets to close, tasks to cancel and await",
            )
            async with kit.consumer() as successor:
                balance(sent, bodies(await successor.receive(10)), scenario=scenario, look="shutdown: it requeues")

        kit.run(main)


class NeverConfirms(Producer):
    """A backend that accepts records and never confirms them.

    Attributes:
        asked: Every record that it was given.
    """

    asked: list[Record] = []  # noqa: RUF012  (the engine makes the object; the test reads the class)

    async def connect(self) -> None:
        """Nothing."""

    async def produce(self, records: Sequence[Record]) -> Sequence[Any]:
        """Never return."""
        self.asked.extend(records)
        await asyncio.Event().wait()
        return ()

    async def shutdown(self) -> None:
        """Nothing."""


async def _check_waiting(kit: Kit, running: Running) -> None:
    """The rest still waits in the backend, for other workers."""
    pipeline = running.engine.pipeline
    deadline = asyncio.get_running_loop().time() + kit.timeout
    # Some backends need a moment to know.
    while pipeline is not None and (lag := await pipeline.lag()) not in (None, 100 - running.in_flight):
        must(
            asyncio.get_running_loop().time() < deadline,
            f"what an engine has no room for stays in the backend; with 100 messages sent and {running.in_flight} in "
            f"flight, {100 - running.in_flight} wait there, but lag says {lag}",
            "what consume takes away beyond what it returns; lag, which does not count it as waiting any more",
        )
        await asyncio.sleep(0.02)


async def _begin_and_cancel(kit: Kit) -> None:
    """Run an engine, and cancel it while its function has a message."""
    began = asyncio.Event()

    async def hang(_body: bytes) -> None:
        began.set()
        await asyncio.Event().wait()

    async with Running(kit, hang, shutdown_timeout=0.1) as running:
        await running.until(began.is_set, "an engine gives its function the messages that wait", "consume, shutdown")
        await running.cancel()
