"""Producing: confirmed means stored, refused means not stored, and each record has its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from penstock.errors import ConnectorError, ProduceError
from penstock.message import Record
from penstock_kit.accounts import balance
from penstock_kit.bare import Bare
from penstock_kit.broken import Broken, must
from penstock_kit.capability import declares
from penstock_kit.kit import Kit, bodies, numbered


class Producing:
    """`produce` and its answers."""

    def test_a_confirmed_record_can_be_consumed(self, kit: Kit) -> None:
        """As soon as `produce` has returned, before the producer does anything else."""

        async def main() -> None:
            async with kit.producer() as producer:
                sent = numbered(50)
                await producer.send([Record(body) for body in sent])
                # The producer is neither flushed nor closed: confirmed records are in the backend.
                async with kit.consumer() as consumer:
                    seen = await consumer.receive(50)
                look = "produce: it returns when the backend has confirmed, not when the client has taken the record"
                scenario = "50 records were confirmed, and their producer is still open"
                balance(sent, bodies(seen), scenario=scenario, look=look)

        kit.run(main)

    def test_a_closed_producer_leaves_nothing_behind(self, kit: Kit) -> None:
        """Produced records are there, even if `shutdown` comes at once."""
        kit.needs_output()

        async def main() -> None:
            sent = numbered(500)
            async with kit.producer() as producer:
                await asyncio.gather(*(producer.send([Record(body) for body in sent[i::10]]) for i in range(10)))
            async with kit.consumer() as consumer:
                seen = await consumer.receive(500)
            balance(sent, bodies(seen), scenario="500 records in ten calls, then shutdown", look="shutdown: it flushes")

        kit.run(main)

    def test_a_refused_record_does_not_stop_its_neighbours(self, kit: Kit) -> None:
        """Its own answer says why, and that sending it again is useless. The others are stored."""
        kit.needs_output()
        kit.needs("refuse")

        async def main() -> None:
            settings, refused = kit.refusing()
            await kit.listen()
            producer = kit.make_producer_of(settings)
            try:
                await producer.connect()
                batch = [Record(b"before"), refused, Record(b"after")]
                try:
                    answers = await producer.produce(batch)
                except ConnectorError as raised:
                    raise Broken(
                        f"a refused record is answered in its own place; produce raised {raised!r} for the whole call, "
                        "which stops the engine\n    look at: produce: refusals are answers to single records, not an "
                        "exception for all of them"
                    ) from raised
                must(
                    answers[0] is None and answers[2] is None,
                    f"one refused record does not stop the others of its call; they were answered {answers!r}",
                    "produce: refusals are answers to single records, not an exception for all of them",
                )
                error = answers[1]
                must(
                    error is not None,
                    "a record that the backend refused is answered by a ProduceError; it was answered as if stored",
                    "errors of the client that produce swallows",
                )
                must(
                    isinstance(error, ProduceError) and not error.retriable and str(error).strip(),
                    f"a refusal for good says why, and has retriable=False; it was {error!r} with "
                    f"retriable={getattr(error, 'retriable', None)}, so the engine would send it again for ever",
                    "the ProduceError that produce returns",
                )
            finally:
                await producer.shutdown()
            async with kit.consumer() as consumer:
                seen = bodies(await consumer.receive(2)) + bodies(await consumer.rest())
                balance([b"before", b"after"], seen, scenario="a record was refused between two others")

        kit.run(main)

    def test_produce_after_the_close_raises(self, kit: Kit) -> None:
        """It raises ConnectorError instead of answering."""
        kit.needs_output()

        async def main() -> None:
            producer = Bare(kit, "output")
            try:
                await producer.call("connect")
                await producer.call("shutdown")
                try:
                    answers = await producer.call("produce", [Record(b"too late")])
                except ConnectorError:
                    return
                raise Broken(
                    f"produce after shutdown raises ConnectorError; it returned {answers!r}\n"
                    "    look at: produce, when its client is closed"
                )
            finally:
                producer.close()

        kit.run(main)

    def test_producing_nothing_is_nothing(self, kit: Kit) -> None:
        """The answer to an empty list is an empty list."""
        kit.needs_output()

        async def main() -> None:
            async with kit.producer() as producer:
                try:
                    answers = await producer.produce([])
                except ConnectorError as error:
                    raise Broken(f"produce([]) raised {error!r}\n    look at: produce with an empty list") from error
                must(
                    len(answers) == 0,
                    f"produce returns one answer a record; for no records it returned {len(answers)}",
                    "produce with an empty list: return an empty one before the client is asked",
                )

        kit.run(main)

    def test_an_option_of_a_record_is_read_or_refused(self, kit: Kit) -> None:
        """The producer reads each option that the spec names. Any other one is refused, for its record alone."""
        kit.needs_output()

        async def main() -> None:
            async with kit.output_queue() as queue:
                await queue.open()
                records = [Record(b"0"), Record(b"1", options={"no_such_option": 1}), Record(b"2")]
                answers = await queue.produce(records) or [None] * 3
            refused = isinstance(answers[1], ProduceError) and not answers[1].retriable
            must(
                refused and answers[0] is answers[2] is None,
                "a record with an unknown option is refused for good, and no other record is; of three, the second one "
                f"with such an option, the answers were {answers!r}",
                "record_options of the ConnectorSpec: name the options that produce reads, or frozenset() for none",
            )
            for name in sorted(kit.spec.record_options or ()):
                options = _Options({name: 1})
                async with kit.producer() as producer:
                    with suppress(ConnectorError):  # this value may be refused
                        await producer.produce([Record(b"x", options=options)])
                must(
                    options.were_read,
                    f"the spec names the record option {name!r}, and produce never looked at it",
                    "produce: record.options; or record_options of the ConnectorSpec, which promises it to users",
                )

        kit.run(main)

    def test_calls_at_the_same_time_all_arrive(self, kit: Kit) -> None:
        """Twenty `produce` calls at the same time. With ordering, records are stored in the order of the calls."""
        kit.needs_output()

        async def main() -> None:
            calls = [[b"%d" % (10 * call + i) for i in range(10)] for call in range(20)]
            async with kit.producer() as producer:
                await asyncio.gather(
                    *(producer.send([kit.record(body, b"one key") for body in call]) for call in calls)
                )
            async with kit.consumer() as consumer:
                seen = bodies(await kit.take(consumer, 200))
            sent = [body for call in calls for body in call]
            look = "what calls of produce share: a buffer, an attribute, an answer that belongs to another call"
            balance(sent, seen, scenario="20 produce calls at once", look=look)
            if declares(kit.capabilities, "ordering", "key"):
                must(
                    seen == sent,
                    "records are stored in the order of their call, and a call that began earlier comes first; of 20 "
                    f"calls at once the order was {_first_fault(sent, seen)}",
                    "produce calls that overtake each other: give them a lock, or hand records over before the "
                    "first await",
                )

        kit.run(main)


def _first_fault(sent: list[bytes], seen: list[bytes | None]) -> str:
    at = next((i for i, (a, b) in enumerate(zip(sent, seen, strict=False)) if a != b), 0)
    return f"{seen[max(0, at - 2) : at + 3]!r} where {sent[max(0, at - 2) : at + 3]!r} was sent"


class _Options(dict[str, Any]):
    """Options of a record that know whether a value of them was read."""

    were_read = False

    def __getitem__(self, name: str) -> Any:
        self.were_read = True
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.were_read = True
        return super().get(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        self.were_read = True
        return super().pop(name, *default)

    def items(self) -> Any:
        self.were_read = True
        return super().items()

    def values(self) -> Any:
        self.were_read = True
        return super().values()

    def __iter__(self) -> Iterator[str]:
        # With an own `__iter__`, `dict(options)` and `**options` ask for each value.
        return super().__iter__()
