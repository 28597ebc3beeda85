"""Probing: a server can be asked about a queue, and nothing changes by it."""

from __future__ import annotations

from penstock.connectors import Consumer, Probed, Producer
from penstock.errors import ConnectorError
from penstock_kit.accounts import balance
from penstock_kit.broken import must
from penstock_kit.kit import Kit, bodies, numbered
from penstock_kit.watched import call

LOOK = "probe: it only asks; no lease, count, offset, place in the queue or member of the group may change"


class Probing:
    """What `penstock check --connect` asks."""

    def test_a_probe_changes_nothing(self, kit: Kit) -> None:
        """By consumers and producers that never connected, and beside those that did: counts, attempts and order stay.

        A connector without `probe` answers nothing, and passes.
        """

        async def main() -> None:
            sent = numbered(6)
            async with kit.producer() as producer, kit.consumer() as worker:
                await producer.send([kit.held(body) for body in sent])
                held = await worker.receive(2)
                asking, offering = kit.make_consumer(), kit.make_producer()
                for connector in (asking.inner, offering.inner, worker.inner, producer.inner, asking.inner):
                    await _probe(kit, connector)
                await asking.inner.shutdown()
                await offering.inner.shutdown()
                rest = await worker.receive(4) + await worker.rest()
                scenario = "two messages were in flight, the queue was probed five times, then the rest was consumed"
                balance(set(sent), bodies(held + rest), scenario=scenario, look=LOOK)
                counted = [(message.attempts, message.abandoned or 0) for message in rest]
                must(counted == [(1, 0)] * 4, f"{scenario}; each is a first delivery; they were {counted}", LOOK)
                if kit.held_come_in_order:
                    must(bodies(held + rest) == sent, f"{scenario}; they came as {bodies(held + rest)}", LOOK)
                late = await worker.succeed(held + rest)
                must(late == 0, f"{scenario}; {late} of them were lost to the consumer that had them", LOOK)

        kit.run(main)


async def _probe(kit: Kit, connector: Consumer | Producer) -> None:
    try:
        async with call("probe", kit.timeout + 5, "probe must be bounded in time"):
            answers = await connector.probe()
    except ConnectorError as error:
        must(False, f"probe of a queue that works raised {type(error).__name__}: {error}", LOOK)
        return
    wrong = [each for each in answers if not isinstance(each, Probed) or each.ok is False]
    must(not wrong, f"probe of a queue that works finds nothing wrong; it answered {wrong}", LOOK)
