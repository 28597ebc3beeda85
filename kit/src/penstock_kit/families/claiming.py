"""Claiming: chosen messages are delivered, and no other one changes."""

from __future__ import annotations

from penstock_kit.accounts import balance
from penstock_kit.broken import must
from penstock_kit.capability import proves
from penstock_kit.kit import Kit, bodies, numbered

ALONE = "claim: it delivers the messages at these positions and changes no other one"


class Claiming:
    """The capability `claim`."""

    @proves("claim")
    def test_claiming_delivers_the_chosen_alone(self, kit: Kit) -> None:
        """Those that a consumer has, or that are gone, are left out; the others keep attempts, order and place."""

        async def main() -> None:
            sent = numbered(12)
            async with kit.producer() as producer:
                await producer.send([kit.held(body) for body in sent])
            async with kit.browser() as browser:
                positions = {each.message: each.position for each in await browser.browse(12)}
            async with kit.consumer() as worker, kit.consumer() as tool:
                held = await worker.receive(2)
                free = [body for body in sent if body not in bodies(held)]
                wanted = [free[7], free[3], *bodies(held)]
                claimed = await tool.claim([positions[body] for body in wanted])
                scenario = "four of twelve messages were claimed, two of which a consumer had"
                balance(wanted[:2], bodies(claimed), scenario=scenario, look=ALONE)
                late = await tool.succeed(claimed[:1])
                await tool.fail(claimed[1:])
                must(late == 0, f"{scenario}; {late} of them could not be settled", ALONE)
                again = await tool.claim([positions[body] for body in bodies(claimed)])
                scenario = "one claimed message was settled and one requeued; then both were claimed again"
                balance(bodies(claimed[1:]), bodies(again), scenario=scenario, look=ALONE)
                await tool.succeed(again)
                rest = await worker.receive(8)
                rest += await worker.rest()
                scenario = "two of ten messages were claimed and settled; then the rest was consumed"
                left = [body for body in free if body not in wanted]
                balance(left, bodies(rest), scenario=scenario, look=ALONE)
                counted = [(message.attempts, message.abandoned or 0) for message in rest]
                must(
                    counted == [(1, 0)] * 8,
                    f"{scenario}; each is the first delivery, with attempts 1 and abandoned 0; they were {counted}",
                    ALONE,
                )
                if kit.held_come_in_order:
                    must(bodies(rest) == left, f"{scenario}; they came as {bodies(rest)}", ALONE)
                await worker.succeed(held + rest)

        kit.run(main)
