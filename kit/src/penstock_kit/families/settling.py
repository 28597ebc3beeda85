"""Settling: messages that succeeded are gone, messages that failed come again."""

from __future__ import annotations

from contextlib import suppress
from time import monotonic

from penstock.errors import ConnectorError
from penstock.message import Record
from penstock_kit.accounts import balance
from penstock_kit.at_most_once import at_least_once
from penstock_kit.bare import Bare
from penstock_kit.broken import must
from penstock_kit.capability import proves
from penstock_kit.kit import Kit, bodies, numbered

DELAY = 1.4  # seconds; a backend that has only whole ones must take the next one, not the last one
EARLY = 0.1  # seconds that a delay may end early, because of clocks and rounding


class Settling:
    """`on_success` and `on_fail`."""

    def test_a_message_requeued_comes_again_in_the_same_session(self, kit: Kit) -> None:
        """At once, with one attempt more each time. The other messages do not come again."""

        async def main() -> None:
            await kit.send(*numbered(10))
            async with kit.consumer() as consumer:
                first = await consumer.receive(10)
                failed = [message for message in first if message.message in (b"3", b"7")]
                await consumer.succeed([message for message in first if message not in failed])
                for attempt in (2, 3):
                    await consumer.fail(failed)
                    failed = await consumer.receive(2)
                    scenario = f"two of ten messages were requeued, attempt {attempt}"
                    balance(
                        [b"3", b"7"],
                        bodies(failed),
                        scenario=scenario,
                        look="on_fail: how and when a message is delivered again",
                    )
                    must(
                        [message.attempts for message in failed] == [attempt, attempt],
                        f"attempts counts deliveries; for delivery {attempt} of two messages it was "
                        f"{[message.attempts for message in failed]}",
                        "the attempts of a message delivered again: from the backend's counter, or counted here",
                    )
                await consumer.succeed(failed)
                balance((), bodies(await consumer.rest()), scenario="after everything was settled")

        kit.run(main)

    @at_least_once
    def test_a_message_requeued_survives_the_close(self, kit: Kit) -> None:
        """A consumer requeues messages and closes at once. The next consumer gets them."""

        async def main() -> None:
            await kit.send(*numbered(5))
            async with kit.consumer() as consumer:
                messages = await consumer.receive(5)
                await consumer.fail(messages)
            async with kit.consumer() as consumer:
                look = "shutdown, when messages requeued wait inside of the connector to be delivered again"
                balance(numbered(5), bodies(await consumer.receive(5)), scenario="requeued, then closed", look=look)

        kit.run(main)

    def test_a_message_is_settled_once(self, kit: Kit) -> None:
        """Settling a message again is harmless, either way: it stays settled, and other messages are not affected."""

        async def main() -> None:
            await kit.send(*numbered(6))
            async with kit.consumer() as consumer:
                messages = await consumer.receive(6)
                done, held = messages[:3], messages[3:]
                await consumer.succeed(done)
                await consumer.succeed(done)
                await consumer.fail(done)
                await consumer.succeed([])
                await consumer.fail([])
                look = "on_fail of a message that has succeeded: it is fenced by the delivery's own token"
                balance((), bodies(await consumer.rest()), scenario="three messages were settled twice", look=look)
            if kit.backend.at_most_once:
                return  # nothing is left for another consumer
            async with kit.consumer() as consumer:
                seen = bodies(await consumer.receive(3)) + bodies(await consumer.rest())
                look = "shutdown, which requeues what is unsettled; settlements that touch others than they are given"
                balance(bodies(held), seen, scenario="three settled twice, three not at all, then closed", look=look)

        kit.run(main)

    def test_a_success_after_a_failure_comes_too_late(self, kit: Kit) -> None:
        """A requeued message is delivered again, even if its old delivery is then settled as a success."""

        async def main() -> None:
            await kit.send(b"x")
            async with kit.consumer() as consumer:
                message = await consumer.one()
                await consumer.fail([message])
                await consumer.succeed([message])
                again = await consumer.receive(1)
                look = "on_success: it must be fenced by the token of the delivery, not go by the message's id"
                balance([b"x"], bodies(again), scenario="requeued, then reported as a success", look=look)

        kit.run(main)

    def test_a_redelivery_is_a_fresh_copy(self, kit: Kit) -> None:
        """Changes that a function makes to a message do not reach the next attempt."""

        async def main() -> None:
            record = Record(b"x", b"k" if kit.capabilities.keys else None)
            await kit.send(record)
            async with kit.consumer() as consumer:
                message = await consumer.one()
                first = (message.message, message.key, list(message.headers))
                for name, edited in (("message", b"edited"), ("key", b"edited"), ("headers", [("edited", b"")])):
                    # Messages that cannot be changed are as good.
                    with suppress(AttributeError):
                        setattr(message, name, edited)
                await consumer.fail([message])
                again = await consumer.one()
                must(
                    (again.message, again.key, list(again.headers)) == first and first[0] == record.message,
                    f"a redelivery has the body, key and headers that were sent; {again!r} has what a function made of "
                    "the first delivery",
                    "on_fail, where it keeps the message itself to deliver it again: make a new one from the original",
                )

        kit.run(main)

    @at_least_once
    def test_a_settlement_after_the_close_is_harmless(self, kit: Kit) -> None:
        """It raises an error or is counted as late; the message of the new consumer is not affected."""

        async def main() -> None:
            await kit.send(*numbered(4))
            old = Bare(kit, "input")
            try:
                await old.call("connect")
                held = await old.receive(4)
                await old.call("shutdown")
                async with kit.consumer() as new:
                    messages = await new.receive(4)
                    balance(numbered(4), bodies(messages), scenario="the first consumer closed with four messages")
                    for late in ("on_success", "on_fail", "extend"):
                        try:
                            answer = await old.call(late, held)
                        except ConnectorError:
                            continue
                        must(
                            late != "on_success" or answer == 4,
                            f"on_success tells how many messages were no longer ours; after a close that is all 4, it "
                            f"returned {answer!r}",
                            "the return value of on_success after shutdown; raising ConnectorError is right as well",
                        )
                    await new.succeed(messages[:2])
                look = "settlements after shutdown: they must not reach the backend"
                async with kit.consumer() as third:
                    seen = bodies(await third.receive(2)) + bodies(await third.rest())
                    scenario = "a closed consumer settled late, its successor settled two of four"
                    balance(bodies(messages[2:]), seen, scenario=scenario, look=look)
            finally:
                old.close()

        kit.run(main)

    @proves("redelivery_count")
    def test_attempts_survive_the_consumer(self, kit: Kit) -> None:
        """The backend counts deliveries, so that a new consumer continues the count."""

        async def main() -> None:
            await kit.send(b"x")
            for attempt in (1, 2, 3):
                async with kit.consumer() as consumer:
                    message = await consumer.one()
                    must(
                        message.attempts == attempt,
                        f"attempts grows with each delivery, whichever consumer gets it; at delivery {attempt} it was "
                        f"{message.attempts}",
                        "where deliveries are counted: in the backend, or do not declare redelivery_count",
                    )

        kit.run(main)

    @proves("redelivery_count", probe=False)
    def test_attempts_survive_a_restart_of_the_backend(self, kit: Kit) -> None:
        """The backend stores the count with the message."""
        kit.needs("restart")

        async def main() -> None:
            await kit.send(b"x")
            for _delivery in range(2):
                async with kit.consumer() as consumer:
                    await consumer.fail([await consumer.one()])
            kit.backend.restart_backend()
            async with kit.consumer() as consumer:
                message = await consumer.one()
                must(
                    message.attempts == 3,
                    "attempts grows with each delivery; after two deliveries and a restart of the backend the third "
                    f"one said {message.attempts}",
                    "where deliveries are counted: in what the backend stores, or do not declare redelivery_count",
                )

        kit.run(main)

    @proves("requeue_delay")
    def test_a_message_requeued_with_a_delay_comes_after_it(self, kit: Kit) -> None:
        """Not before its delay ends, and soon after. Other messages do not wait for it."""

        async def main() -> None:
            await kit.send(b"late")
            async with kit.consumer() as consumer:
                message = await consumer.one()
                await kit.send(b"now")  # before the delay starts: a busy server may take longer than that to store it
                started = monotonic()
                await consumer.fail([message], DELAY)
                found = await consumer.receive(2, timeout=DELAY + kit.timeout)
                must(
                    bodies(found) == [b"now", b"late"],
                    f"a message that is held back lets others pass and comes later; there came {bodies(found)!r}",
                    "on_fail with a delay: what holds the message back; without that, do not declare requeue_delay",
                )
                _check_delay(monotonic() - started, kit)
                must(
                    found[1].attempts == 2,
                    f"attempts counts deliveries, also of a message that was held back; its second one said "
                    f"{found[1].attempts}",
                    "on_fail with a delay: whether it stores a new message, whose deliveries are counted from 1 again",
                )

        kit.run(main)

    @proves("record_delay")
    def test_a_record_with_a_delay_comes_after_it(self, kit: Kit) -> None:
        """Not before its delay ends, and soon after. It is confirmed at once."""

        async def main() -> None:
            async with kit.consumer() as consumer, kit.producer() as producer:
                started = monotonic()
                await producer.send([Record(b"late", delay=DELAY), Record(b"now")])
                found = await consumer.receive(2, timeout=DELAY + kit.timeout)
                must(
                    bodies(found) == [b"now", b"late"],
                    f"a record with a delay lets others pass and comes later; there came {bodies(found)!r}",
                    "produce: the delay of a Record",
                )
                _check_delay(monotonic() - started, kit)

        kit.run(main)


def _check_delay(seconds: float, kit: Kit) -> None:
    must(
        seconds >= DELAY - EARLY,
        f"a delay of {DELAY:g} s lasts at least as long; the message came after {seconds:.2f} s",
        "the unit of the delay, whether a fraction of a second is cut off, and whose clock it is measured by",
    )
    must(
        seconds < DELAY + kit.timeout,
        f"a delay of {DELAY:g} s ends soon after; the message came after {seconds:.2f} s",
        "who looks for messages whose delay has ended",
    )
