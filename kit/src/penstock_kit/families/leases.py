"""Leases: a message belongs to one consumer while its lease lasts or is extended, and to others afterwards."""

from __future__ import annotations

import asyncio

from penstock_kit.accounts import balance
from penstock_kit.at_most_once import at_least_once
from penstock_kit.broken import must
from penstock_kit.capability import declares, proves
from penstock_kit.children import children
from penstock_kit.kit import Kit, bodies, numbered
from penstock_kit.watched import SHUTDOWN_LIMIT

ROUNDS = 8  # extensions, a third of a lease apart
LONGEST = 5.0  # seconds that a short lease may have; the tests wait for several


class Leases:
    """The capability `lease`, and fencing of late settlements."""

    @proves("lease")
    def test_a_lease_says_how_long_it_lasts(self, kit: Kit) -> None:
        """In seconds, after connect. The engine needs it to extend leases in time."""

        async def main() -> None:
            async with kit.consumer() as consumer:
                must(
                    isinstance(consumer.lease, int | float) and consumer.lease > 0,
                    f"a consumer with leases says after connect how many seconds they last; it says {consumer.lease!r}",
                    "the attribute `lease`: connect sets it to the seconds that a delivery stays hidden from others",
                )

        kit.run(main)

    @proves("lease", probe=False)
    def test_a_lease_that_ends_lets_others_have_the_message(self, kit: Kit) -> None:
        """What its first owner does afterwards changes nothing and is counted as late."""
        kit.needs("lease")

        async def main() -> None:
            await kit.send(*numbered(3), **kit.backend.short_lease)
            short = kit.backend.short_lease
            async with kit.consumer(**short) as slow, kit.consumer() as other:
                held = await slow.receive(3)
                _check_short(slow.lease)
                # Its owner neither settles nor extends, as if it hung.
                taken = await other.receive(3, timeout=kit.timeout + (slow.lease or 0))
                scenario = "a lease of three messages ended"
                balance(
                    numbered(3), bodies(taken), scenario=scenario, look="what happens in the backend when a lease ends"
                )
                late = await slow.succeed(held)
                must(
                    late == 3,
                    f"on_success returns how many messages were no longer ours; the leases of all 3 had ended, it "
                    f"returned {late}",
                    "on_success: it must show the token of its own delivery, and count what the backend left alone",
                )
                await slow.fail(held)
                await slow.extend(held)
                look = "on_success, on_fail and extend must be fenced by the token of their own delivery"
                scenario = "the old owner of three messages settled late while another one had them"
                balance((), bodies(await slow.rest()), scenario=scenario, look=look)
                late = await other.succeed(taken)
                must(late == 0, f"{scenario}; {late} of the new owner's were lost to it", look)

        kit.run(main)

    @proves("lease", probe=False)
    def test_a_late_settlement_does_not_settle_for_the_new_owner(self, kit: Kit) -> None:
        """The old owner settles late, the new one closes without settling: the message comes again."""
        kit.needs("lease")

        async def main() -> None:
            await kit.send(b"x", **kit.backend.short_lease)
            short = kit.backend.short_lease
            async with kit.consumer(**short) as slow:
                held = await slow.receive(1)
                async with kit.consumer(**short) as other:
                    taken = await other.receive(1, timeout=kit.timeout + (slow.lease or 0))
                    balance([b"x"], bodies(taken), scenario="a lease ended")
                    await slow.succeed(held)
                async with kit.consumer() as third:
                    look = "on_success must be fenced by the token of its own delivery"
                    scenario = "the old owner settled late, the new one closed without settling"
                    balance([b"x"], bodies(await third.receive(1)), scenario=scenario, look=look)

        kit.run(main)

    @proves("lease", probe=False)
    def test_a_lease_that_is_extended_does_not_end(self, kit: Kit) -> None:
        """Much longer than the lease, only its owner gets the message, and can settle it."""
        kit.needs("lease")

        async def main() -> None:
            await kit.send(*numbered(3), **kit.backend.short_lease)
            short = kit.backend.short_lease
            async with kit.consumer(**short) as owner, kit.consumer() as other:
                held = await owner.receive(3)
                lease = _check_short(owner.lease)
                look = "extend: a full span from now, for each message that it is given"
                for _round in range(ROUNDS):
                    await asyncio.sleep(lease / 3)
                    await owner.extend(held)
                    scenario = f"leases of {lease:g} s were extended every {lease / 3:.2f} s"
                    balance((), bodies(await other.consume(10, 0)), scenario=scenario, look=look)
                late = await owner.succeed(held)
                must(late == 0, f"{scenario}; {late} of 3 messages were lost to their owner nevertheless", look)
                balance((), bodies(await other.rest()), scenario="extended, then settled", look=look)

        kit.run(main)

    @proves("lease", probe=False)
    def test_another_consumer_that_opens_takes_nothing_away(self, kit: Kit) -> None:
        """Other consumers open and close while messages are in flight, and get none of them."""

        async def main() -> None:
            await kit.send(*numbered(5))
            async with kit.consumer() as owner:
                held = await owner.receive(5)
                async with kit.consumer() as visitor:
                    look = "connect and shutdown: what they free or take of other consumers"
                    scenario = "another consumer opened while five messages were in flight"
                    balance((), bodies(await visitor.rest()), scenario=scenario, look=look)
                late = await owner.succeed(held)
                must(late == 0, f"{scenario}, and closed; {late} of them were lost to their owner", look)

        kit.run(main)

    @at_least_once
    def test_a_worker_that_was_frozen_cannot_settle_what_others_have(self, kit: Kit) -> None:
        """SIGSTOP for longer than a lease or a session, then SIGCONT: its late settlements are fenced, and nothing is
        lost."""
        kit.needs("processes")
        kit.needs("freeze")
        if not declares(kit.capabilities, "lease") and kit.backend.frozen_after is None:
            kit.not_promised("without leases, and without frozen_after, no other worker takes over from one that hangs")

        async def main() -> None:
            await kit.send(*numbered(6), **kit.backend.short_lease)
            wait = kit.backend.frozen_after or LONGEST
            with children(kit) as maker:
                worker = maker.start("hold", count=6, settle_last=0)
                worker.go()
                await worker.wait_for("ready")
                worker.freeze()
                async with kit.consumer(**kit.backend.short_lease) as other:
                    taken = await other.receive(6, timeout=wait + kit.timeout)
                    scenario = "a worker with six messages was frozen"
                    balance(
                        numbered(6), bodies(taken), scenario=scenario, look="how others learn of a worker that hangs"
                    )
                    worker.thaw()
                    worker.go()
                    (late,) = await worker.wait_for("late", seconds=kit.timeout + wait)
                    # Without a lease, a frozen worker learns of its loss only when the backend answers again.
                    must(
                        late == b"6" or not declares(kit.capabilities, "lease"),
                        f"on_success returns how many messages were no longer ours; a worker was frozen, others took "
                        f"its 6 messages, it woke up and settled them, and on_success returned {late.decode()}",
                        "how on_success finds out that a lease or a partition was lost meanwhile",
                    )
                    await worker.ended(SHUTDOWN_LIMIT + kit.timeout)
                # The new owner closes, and has settled none of them.
            async with kit.consumer() as third:
                look = "settlements must be fenced by the token, or the generation, of their own delivery"
                scenario = "a worker woke up and settled what others had by then, who closed without settling"
                balance(numbered(6), bodies(await third.receive(6)), scenario=scenario, look=look)

        kit.run(main)


def _check_short(lease: float | None) -> float:
    must(
        lease is not None and 0 < lease <= LONGEST,
        f"the backend fixture's short_lease gives leases of at most {LONGEST:g} s, best of one; it gave {lease!r}",
        "short_lease of the backend fixture: options of this connector, as they stand under `config:`",
    )
    return lease or 0.0
