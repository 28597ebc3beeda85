"""Browsing: a queue can be read without being changed."""

from __future__ import annotations

import asyncio
from time import monotonic

from penstock.message import BrowsedMessage
from penstock_kit.accounts import balance
from penstock_kit.broken import must
from penstock_kit.capability import declares, proves
from penstock_kit.kit import Kit, bodies, numbered
from penstock_kit.watched import WatchedConsumer

PAGE = 5  # messages a call, of a dozen
MOST_PAGES = 50  # more than any test needs
CHANGES_NOTHING = "browse: it only reads; no lease, count, offset or place in the queue may change"
RESUMES = (
    "the order of browse, by position, and `after`: it starts behind that position, whatever happened to the message"
)


class Browsing:
    """The capability `browse`."""

    @proves("browse")
    def test_browsing_shows_every_message(self, kit: Kit) -> None:
        """Page by page and as it was sent, also messages in flight, by a consumer that never connected."""

        async def main() -> None:
            sent = numbered(12)
            async with kit.producer() as producer:
                await producer.send([kit.record(body, key=b"key-" + body) for body in sent])
            async with kit.consumer() as worker:
                held = await worker.receive(3)
                async with kit.browser() as browser:
                    seen = await _everything(browser)
                look = "browse: every message that is not settled, also those that a consumer has"
                balance(sent, bodies(seen), scenario="browsed, while a consumer had three of them", look=look)
                _check_kept(kit, seen)
                _check_states(seen, {message.position for message in held})
                await worker.succeed(held + await worker.receive(9))
            async with kit.browser() as browser:
                left = [each for each in await _everything(browser) if each.state not in ("kept", "settled")]
                balance((), bodies(left), scenario="all messages were settled, then browsed", look=look)

        kit.run(main)

    @proves("browse", probe=False)
    def test_browsing_changes_nothing(self, kit: Kit) -> None:
        """Counts, attempts, order, leases and lag stay the same."""

        async def main() -> None:
            sent = numbered(12)
            async with kit.producer() as producer:
                # One key, so that there is an order also where order is by key.
                await producer.send([kit.held(body) for body in sent])
            async with kit.consumer() as worker, kit.browser() as browser:
                held = await worker.receive(3)
                lag = await _lag(kit, worker, 9)
                for looking in (browser, worker, browser):
                    balance(sent, bodies(await _everything(looking)), scenario="browsed", look=CHANGES_NOTHING)
                now = await worker.lag()
                must(now == lag, f"browsing changes no lag; it was {lag}, and {now} after it", CHANGES_NOTHING)
                rest = await worker.receive(9)
                rest += await worker.rest()
                scenario = "three messages were in flight, all were browsed three times, then the rest was consumed"
                waiting = set(sent) - set(bodies(held))
                balance(waiting, bodies(rest), scenario=scenario, look=CHANGES_NOTHING)
                counted = [(message.attempts, message.abandoned or 0) for message in rest]
                must(
                    counted == [(1, 0)] * 9,
                    f"{scenario}; each is the first delivery, with attempts 1 and abandoned 0; they were {counted}",
                    CHANGES_NOTHING,
                )
                if kit.held_come_in_order:
                    must(
                        bodies(held + rest) == sent, f"{scenario}; they came as {bodies(held + rest)}", CHANGES_NOTHING
                    )
                late = await worker.succeed(held + rest)
                must(late == 0, f"{scenario}; {late} of them were lost to the consumer that had them", CHANGES_NOTHING)

        kit.run(main)

    @proves("browse", probe=False)
    def test_browsing_resumes_where_it_stopped(self, kit: Kit) -> None:
        """Messages are settled, requeued and leased between two pages: that hides none, and none comes twice."""

        async def main() -> None:
            sent = numbered(12)
            async with kit.producer() as producer:
                await producer.send([kit.record(body, key=b"key") for body in sent])
            async with kit.browser() as browser, kit.consumer() as worker:
                seen = list(await browser.browse(PAGE))
                position = seen[-1].position
                done = await worker.receive(2)
                await worker.succeed(done)
                await worker.fail(await worker.receive(2))
                held = await worker.receive(3)
                await worker.succeed([message for message in held if message.position == position])
                async with kit.browser() as another:
                    rest = await _everything(another, position)
                must(
                    [each.position for each in await browser.browse(PAGE, position)]
                    == [each.position for each in rest[:PAGE]],
                    "browse gives the same page for the same `after`, whichever consumer is asked",
                    RESUMES,
                )
                gone = {message.message for message in done} - set(bodies(seen + rest))
                scenario = (
                    "a page was browsed; messages were settled, requeued and leased; the other pages were browsed"
                )
                balance(set(sent) - gone, bodies(seen + rest), scenario=scenario, look=RESUMES)

        kit.run(main)

    @proves("browse", probe=False)
    def test_browsing_does_not_prolong_a_lease(self, kit: Kit) -> None:
        """A lease that is browsed again and again still ends in time."""
        if not declares(kit.capabilities, "lease"):
            kit.not_promised("without leases there is nothing to prolong")
        kit.needs("lease")

        async def main() -> None:
            await kit.send(*numbered(3), **kit.backend.short_lease)
            async with (
                kit.consumer(**kit.backend.short_lease) as slow,
                kit.consumer() as other,
                kit.browser() as browser,
            ):
                await slow.receive(3)
                taken: list[bytes | None] = []
                deadline = monotonic() + kit.timeout + (slow.lease or 0)
                while len(taken) < 3 and monotonic() < deadline:
                    await browser.browse(PAGE)
                    taken += bodies(await other.consume(3, 0))
                    await asyncio.sleep(0.02)
                balance(numbered(3), taken, scenario="three leases ended while they were browsed", look=CHANGES_NOTHING)

        kit.run(main)


async def _lag(kit: Kit, consumer: WatchedConsumer, expected: int) -> int | None:
    """Wait until the lag is as expected; some backends need a moment."""
    deadline = monotonic() + kit.timeout
    while True:
        lag = await consumer.lag()
        if lag == expected or not declares(kit.capabilities, "lag") or monotonic() > deadline:
            return lag
        await asyncio.sleep(0.02)


async def _everything(consumer: WatchedConsumer, after: str | None = None) -> list[BrowsedMessage]:
    """Browse all pages."""
    seen: list[BrowsedMessage] = []
    for _page in range(MOST_PAGES):
        found = await consumer.browse(PAGE, after)
        if not found:
            break
        seen += found
        after = found[-1].position
    return seen


def _check_kept(kit: Kit, seen: list[BrowsedMessage]) -> None:
    """Check that keys are right, if there are keys, and that positions differ."""
    if kit.capabilities.keys:
        wrong = [message.key for message in seen if message.key != b"key-" + (message.message or b"")]
        must(not wrong, f"a browsed message has the key that it was sent with; these have not: {wrong}", "browse")
    positions = [message.position for message in seen]
    must(
        all(positions) and len(set(positions)) == len(positions),
        f"each browsed message has a position of its own; they were {positions}",
        "the position of a BrowsedMessage: the one that consume gives the message as well",
    )


def _check_states(seen: list[BrowsedMessage], held: set[str]) -> None:
    """Check that messages in flight are not shown as waiting, and the other way round."""
    wrong = [
        f"{message.position}: {message.state}"
        for message in seen
        if message.state in (("waiting", "delayed") if message.position in held else ("leased", "delayed"))
    ]
    must(
        not wrong,
        f"the state of a browsed message is true; consumers had {sorted(held)}, and these are wrong: {wrong}",
        "the state of a BrowsedMessage; 'unknown' where it cannot be told",
    )
