"""Long lists without an engine: sent in chunks, read without a message object each, and settled once."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator, Sequence
from typing import Any
from weakref import ref

import pytest

from penstock import BlockingQueues, Consumer, Producer, QueueMessage, Queues, Record
from penstock.direct.collector import collector_paused
from penstock.direct.sending import CHUNK
from penstock.errors import FunctionError, InvalidMessage, NotSent, PenstockError, ProduceError
from penstock.message import LazyMessages

STORED: list[bytes | None] = []
CALLS: list[tuple[str, int]] = []


class Log(Producer):
    """Notes what it gets; refuses the body of three letters for good."""

    async def connect(self) -> None:
        STORED.clear()

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        STORED.extend(record.message for record in records)
        await asyncio.sleep(0)
        refusal = ProduceError("it is bad", retriable=False)
        return [refusal if record.message == b'"bad"' else None for record in records]

    async def shutdown(self) -> None:
        pass


class Numbers(LazyMessages[QueueMessage]):
    """Messages with numbers as bodies."""

    def __init__(self, numbers: Sequence[int]) -> None:
        super().__init__()
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def bodies(self) -> list[bytes | None]:
        """See `LazyMessages`."""
        return [str(number).encode() for number in self._numbers]

    def make(self) -> list[QueueMessage]:
        """See `LazyMessages`."""
        CALLS.append(("make", len(self)))
        return [QueueMessage(number, str(number).encode()) for number in self._numbers]


class Counter(Consumer):
    """Delivers the numbers from 0 on, without leases."""

    async def connect(self) -> None:
        CALLS.clear()
        self.next = 0

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:  # noqa: ARG002
        await asyncio.sleep(0.001)
        first, self.next = self.next, self.next + max_messages
        return Numbers(range(first, self.next))

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        lazy = isinstance(messages, LazyMessages) and not messages.made
        CALLS.append(("whole" if lazy else "singly", len(messages)))
        return None

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int | None:  # noqa: ARG002
        CALLS.append(("requeue", len(list(messages))))
        return None

    async def shutdown(self) -> None:
        pass


CONFIG: dict[str, Any] = {
    "log": {"producer": Log, "model_handler": None},
    "numbers": {"consumer": Counter, "data_model": int, "envelope": False},
    "texts": {"consumer": Counter, "data_model": list, "envelope": False},
}


def made() -> list[tuple[str, int]]:
    """What became of lists, without those that were only fetched ahead."""
    return [call for call in CALLS if call[0] != "requeue"]


def test_a_long_list_is_sent_in_its_order() -> None:
    """Of any length, also by a generator, which is asked for no more than some chunks ahead."""
    asked = []

    def numbers() -> Iterator[int]:
        for number in range(5 * CHUNK + 3):
            asked.append(len(STORED))
            yield number

    async def main() -> None:
        async with Queues(CONFIG) as queues:
            await queues.send_batch("log", numbers())

    asyncio.run(main())

    assert [str(number).encode() for number in range(5 * CHUNK + 3)] == STORED
    assert max(number - stored for number, stored in enumerate(asked)) <= 4 * CHUNK


def test_an_object_that_cannot_be_encoded_ends_a_long_list() -> None:
    """Nothing of its chunk or after it is sent; the error says what is stored."""
    objects = [*range(2 * CHUNK + 7), object(), *range(CHUNK)]
    stored = f"of the first {2 * CHUNK:,} objects {2 * CHUNK:,} are stored, and none of the others"

    refusal = pytest.raises(FunctionError, match=f"queue 'log', object {2 * CHUNK + 7}: .*; {stored}$")
    with BlockingQueues(CONFIG) as queues, refusal:
        queues.send_batch("log", objects)

    assert [str(number).encode() for number in range(2 * CHUNK)] == STORED


def test_a_generator_that_raises_says_what_is_stored() -> None:
    """Its own error comes out, with a note."""

    def numbers() -> Iterator[int]:
        yield from range(CHUNK)
        raise KeyError("mine")

    async def main() -> None:
        async with Queues(CONFIG) as queues:
            await queues.send_batch("log", numbers())

    with pytest.raises(KeyError, match="mine") as caught:
        asyncio.run(main())

    assert caught.value.__notes__ == [f"of the first {CHUNK:,} objects {CHUNK:,} are stored, and none of the others"]


def test_refusals_in_several_chunks_are_named_by_their_places() -> None:
    """In their order; all others are stored."""
    objects: list[Any] = [*range(2 * CHUNK + 10)]
    places = [3, CHUNK + 1, 2 * CHUNK + 9]
    for place in places:
        objects[place] = "bad"

    refusal = pytest.raises(NotSent, match=f"3 of {len(objects)} refused; object 3: it is bad")
    with BlockingQueues(CONFIG) as queues, refusal as caught:
        queues.send_batch("log", objects)

    assert [place for place, _ in caught.value.refused] == places


def test_a_cancelled_call_leaves_no_chunk_on_its_way() -> None:
    """As a call for one object does."""

    async def main() -> None:
        async with Queues(CONFIG) as queues:
            await queues.send_batch("log", [])
            sending = asyncio.create_task(queues.send_batch("log", range(20 * CHUNK)))
            while not STORED:
                await asyncio.sleep(0)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            seen = len(STORED)
            await asyncio.sleep(0.05)
            assert len(STORED) == seen < 20 * CHUNK

    asyncio.run(main())


def test_a_reader_of_whole_lists_needs_no_message() -> None:
    """The bodies are read, all is settled in one call, and twice is refused."""

    async def main() -> None:
        async with Queues(CONFIG) as queues:
            async for batch in queues.read("numbers", batch=200):
                assert batch.objects == list(range(200))
                assert await batch.done() == 200
                with pytest.raises(PenstockError, match="settled already"):
                    await batch.done()
                assert [delivery.object for delivery in batch] == list(range(200))
                with pytest.raises(PenstockError, match="settled already"):
                    await batch[0].done()
                break

    asyncio.run(main())

    assert made()[0] == ("whole", 200)


@pytest.mark.parametrize("blocking", [False, True], ids=["async", "blocking"])
def test_a_list_that_was_taken_apart_is_settled_message_by_message(blocking: bool) -> None:
    """Then what is left of it, and never the whole list again."""

    async def main() -> None:
        async with Queues(CONFIG) as queues:
            async for batch in queues.read("numbers", batch=3):
                assert await batch[1].done()
                with pytest.raises(PenstockError, match="settled already"):
                    await batch.done()
                assert [await batch[place].done() for place in (0, 2)] == [True, True]
                break

    def threaded() -> None:
        with BlockingQueues(CONFIG) as queues:
            for batch in queues.read("numbers", batch=3):
                assert batch[1].done()
                with pytest.raises(PenstockError, match="settled already"):
                    batch.done()
                assert [batch[place].done() for place in (0, 2)] == [True, True]
                break

    threaded() if blocking else asyncio.run(main())

    assert [call for call in made() if call[0] != "make"] == [("singly", 1)] * 3


def test_lists_of_other_lengths_than_were_fetched_are_complete_and_in_order() -> None:
    """Whatever parts they came in."""

    async def main() -> None:
        async with Queues(CONFIG) as queues:
            seen: list[int] = []
            async for batch in queues.read("numbers", batch=70, wait=1.0):
                assert len(batch) == 70
                seen += batch.objects
                assert await batch.done() == 70
                if len(seen) > 1_000:
                    break
            async for delivery in queues.read("numbers"):
                seen.append(delivery.object)
                assert await delivery.done()
                if len(seen) > 1_200:
                    break
            assert seen == list(range(len(seen)))

    asyncio.run(main())


def test_a_wrong_body_of_a_list_is_named_by_its_delivery() -> None:
    """The list can be settled or requeued all the same."""

    async def main() -> None:
        async with Queues(CONFIG) as queues:
            async for batch in queues.read("texts", batch=2):
                with pytest.raises(InvalidMessage):
                    batch.objects  # noqa: B018
                with pytest.raises(InvalidMessage):
                    batch[0].object  # noqa: B018
                assert await batch.requeue() == 2
                break

    asyncio.run(main())


def test_a_list_goes_when_nobody_has_it_any_more() -> None:
    """At once: the collector need not find it."""

    async def main() -> None:
        async with Queues(CONFIG) as queues:
            async for batch in queues.read("numbers", batch=3):
                assert batch.objects
                await batch.done()
                known = ref(batch)
                del batch
                assert known() is None
                break

    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()


def test_the_collector_pauses_and_goes_on() -> None:
    """Also after an error; one that is turned off stays so."""
    with collector_paused():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(KeyError), collector_paused():
        raise KeyError
    assert gc.isenabled()
    gc.disable()
    try:
        with collector_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
