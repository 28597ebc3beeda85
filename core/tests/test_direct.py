"""Queues without an engine: a program sends, reads and settles by itself, and loses nothing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from penstock import BlockingQueues, Output, Producer, Queues, Record
from penstock.errors import (
    CapabilityError,
    ConfigError,
    DecodeError,
    FunctionError,
    InvalidMessage,
    NotSent,
    PenstockError,
    ProduceError,
)


class Order(BaseModel):
    """What most of these queues carry."""

    id: int


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """Queues in a file, one of them with a short lease."""
    path = str(tmp_path / "queues.db")
    return {
        "orders": {"profile": "sqlite", "config": {"path": path}, "data_model": Order},
        "brief": {"profile": "sqlite", "config": {"path": path, "lease": 0.6}},
        "small": {"profile": "sqlite", "config": {"path": path}, "serializer": None, "model_handler": None},
        "here": {"profile": "memory"},
        "picky": {"producer": Picky, "serializer": None, "model_handler": None},
    }


STORED: list[bytes | None] = []


class Picky(Producer):
    """Refuses bodies of more than three bytes for good."""

    async def connect(self) -> None:
        STORED.clear()

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        short = [len(record.message or b"") <= 3 for record in records]
        STORED.extend(record.message for record, fits in zip(records, short, strict=True) if fits)
        return [None if fits else ProduceError("too long", retriable=False) for fits in short]

    async def shutdown(self) -> None:
        pass


async def numbers(queues: Queues, name: str = "orders") -> list[int]:
    """All that is in a queue now, settled."""
    found = []
    async for delivery in queues.read(name, idle=0.3):
        found.append(delivery.object.id)
        assert await delivery.done()
    return found


def test_a_program_sends_reads_and_settles(config: dict[str, Any]) -> None:
    """Object, key, headers and place come as they were sent; what is settled does not come again."""

    async def main() -> None:
        async with Queues(config) as queues:
            await queues.send("orders", Order(id=1), key="7", headers={"trace": "abc"})
            async for delivery in queues.read("orders"):
                assert delivery.object == Order(id=1)
                assert (delivery.key, list(delivery.headers)) == (b"7", [("trace", b"abc")])
                assert delivery.attempts == 1
                assert delivery.position
                assert delivery.body == b'{"id":1}'
                assert delivery.timestamp is not None
                assert await delivery.done()
                break
        async with Queues(config) as queues:
            assert await queues.lag("orders") == 0
            assert await numbers(queues) == []

    asyncio.run(main())


def test_batches_are_sent_and_read_in_order(config: dict[str, Any]) -> None:
    """Plain objects, and outputs where keys are wanted; a batch is settled as a whole or one by one."""

    async def main() -> None:
        async with Queues(config) as queues:
            await queues.send_batch("orders", [Order(id=0), Output("orders", Order(id=1), key="k"), {"id": 2}])
            await queues.send_batch("orders", ({"id": number} for number in range(3, 10)))
            seen: list[int] = []
            async for batch in queues.read("orders", batch=4, wait=0.2, idle=0.3):
                seen += [order.id for order in batch.objects]
                if len(batch) == 4:
                    assert await batch.done() == 4
                else:
                    assert [await delivery.done() for delivery in batch] == [True, True]
            assert seen == list(range(10))

    asyncio.run(main())


def test_a_batch_waits_until_it_is_full_or_its_time_is_over(config: dict[str, Any]) -> None:
    """From the first message on."""

    async def main() -> None:
        async with Queues(config) as queues:

            async def trickle() -> None:
                for number in range(7):
                    await queues.send("orders", Order(id=number))
                    await asyncio.sleep(0.05)

            sending = asyncio.create_task(trickle())
            sizes = []
            async for batch in queues.read("orders", batch=5, wait=1.5, idle=1.0):
                sizes.append(len(batch))
                await batch.done()
            await sending
            assert sizes == [5, 2]

    asyncio.run(main())


def test_a_list_and_its_deliveries_have_the_same_objects(config: dict[str, Any]) -> None:
    """Whichever was asked for first: what the reader changes is not undone."""
    with BlockingQueues(config) as queues:
        queues.send_batch("orders", [Order(id=number) for number in range(4)])
        first = True
        for batch in queues.read("orders", batch=2, idle=0.3):
            made = batch.objects if first else [each.object for each in batch]
            found = [each.object for each in batch] if first else batch.objects
            assert all(one is other for one, other in zip(made, found, strict=True))
            assert batch.done() == len(batch)
            first = False


@pytest.mark.parametrize("name", ["orders", "here"])
def test_what_is_not_settled_comes_again(config: dict[str, Any], name: str) -> None:
    """At the end of the block it is requeued, what was only fetched ahead as well."""

    async def main() -> None:
        async with Queues(config) as queues:
            await queues.send_batch(name, [{"id": number} for number in range(5)])
            taken = []
            async for delivery in queues.read(name):
                taken.append(delivery)
                if len(taken) == 2:
                    await taken[0].done()
                    break
        async with Queues(config) as queues:
            assert await numbers(queues, name) == [1, 2, 3, 4]

    asyncio.run(main())


def test_a_delivery_is_requeued_with_a_delay(config: dict[str, Any]) -> None:
    """It comes again, counted."""

    async def main() -> None:
        async with Queues(config) as queues:
            await queues.send("orders", Order(id=1))
            attempts = []
            async for delivery in queues.read("orders", idle=1.0):
                attempts.append(delivery.attempts)
                assert await (delivery.requeue(0.2) if len(attempts) == 1 else delivery.done())
            assert attempts == [1, 2]

    asyncio.run(main())


def test_leases_are_kept_alive_while_a_delivery_is_held(config: dict[str, Any]) -> None:
    """Three times as long as the lease lasts: another reader does not get it."""

    async def main() -> None:
        async with Queues(config) as queues, Queues(config) as others:
            await queues.send("brief", {"id": 1})
            async for delivery in queues.read("brief"):
                async for stolen in others.read("brief", idle=1.8):
                    raise AssertionError(stolen)
                assert await delivery.done()
                break

    asyncio.run(main())


def test_a_settled_delivery_cannot_be_settled_again(config: dict[str, Any]) -> None:
    """That is a mistake in the program, and is said."""

    async def main() -> None:
        async with Queues(config) as queues:
            await queues.send("orders", Order(id=1))
            async for delivery in queues.read("orders"):
                await delivery.done()
                with pytest.raises(PenstockError, match="settled already"):
                    await delivery.requeue()
                break

    asyncio.run(main())


def test_a_wrong_body_is_an_error_of_its_delivery(config: dict[str, Any]) -> None:
    """The reader goes on, and settles it or not."""

    async def main() -> list[str]:
        raw = {**config, "orders": {**config["small"]}}
        async with Queues(raw) as queues:
            await queues.send_batch("orders", [b"{", b'{"id":"x"}', b'{"id":3}'])
        said = []
        async with Queues(config) as queues:
            async for delivery in queues.read("orders", idle=0.3):
                try:
                    said.append(str(delivery.object.id))
                except (DecodeError, InvalidMessage) as error:
                    said.append(type(error).__name__)
                await delivery.done()
        return said

    assert asyncio.run(main()) == ["DecodeError", "InvalidMessage", "3"]


def test_a_reader_may_choose_the_model(config: dict[str, Any]) -> None:
    """Any type that the model handler builds; what is sent may be plain data where no data model is configured."""
    with BlockingQueues(config) as queues:
        queues.send_batch("brief", [1, 2])
        for batch in queues.read("brief", model=int, batch=2, wait=1.0, idle=1.0):
            assert batch.objects == [1, 2]
            assert batch.done() == 2


def test_a_wrong_object_is_named_and_nothing_is_sent(config: dict[str, Any]) -> None:
    """By its number, and without its data."""

    async def main() -> None:
        async with Queues(config) as queues:
            with pytest.raises(FunctionError, match="queue 'orders', object 1: ") as caught:
                await queues.send_batch("orders", [{"id": 1}, {"id": "secret text"}])
            assert "secret" not in str(caught.value)
            with pytest.raises(FunctionError, match="it is an Output for queue 'small'"):
                await queues.send_batch("orders", [Output("small", {"id": 1})])
            assert await queues.lag("orders") == 0

    asyncio.run(main())


def test_what_the_backend_refuses_is_named_and_the_rest_is_stored(config: dict[str, Any]) -> None:
    """`refused` has the place of each."""

    async def main() -> None:
        async with Queues(config) as queues:
            with pytest.raises(NotSent, match="2 of 4 refused; object 1: too long") as caught:
                await queues.send_batch("picky", [b"a", b"four", b"b", b"five!"])
            assert [place for place, _error in caught.value.refused] == [1, 3]
            assert STORED == [b"a", b"b"]

    asyncio.run(main())


def test_process_settles_a_batch_when_its_function_returns(config: dict[str, Any]) -> None:
    """After an error nothing is settled, and the error comes out; plain and asynchronous functions."""

    async def main() -> None:
        async with Queues(config) as queues:
            await queues.send_batch("orders", [{"id": number} for number in range(6)])
            seen: list[int] = []

            def work(batch: Any) -> None:
                assert threading.current_thread() is not threading.main_thread()
                if seen:
                    raise RuntimeError("the second batch fails")
                seen.extend(order.id for order in batch.objects)

            with pytest.raises(RuntimeError, match="the second batch"):
                await queues.process("orders", work, batch=3)
            assert seen == [0, 1, 2]
        async with Queues(config) as queues:

            async def collect(batch: Any) -> None:
                seen.extend(order.id for order in batch.objects)

            await queues.process("orders", collect, batch=2, idle=0.3)
            assert seen == [0, 1, 2, 3, 4, 5]

    asyncio.run(main())


def test_the_blocking_form_has_the_same_names(config: dict[str, Any]) -> None:
    """For programs without an event loop."""
    with BlockingQueues(config) as queues:
        queues.send("orders", Order(id=1), key="7")
        queues.send_batch("orders", [{"id": 2}, {"id": 3}])
        for delivery in queues.read("orders"):
            assert (delivery.object, delivery.key) == (Order(id=1), b"7")
            assert delivery.done()
            break
        assert queues.health()["input orders"].state == "ok"
        for batch in queues.read("orders", batch=10, wait=0.2, idle=0.3):
            assert [order.id for order in batch.objects] == [2, 3]
            assert batch.requeue() == 2
            break
    with BlockingQueues(config) as queues:
        seen: list[int] = []
        queues.process("orders", lambda batch: seen.extend(order.id for order in batch.objects), idle=0.3)
        assert seen == [2, 3]
        assert queues.lag("orders") == 0


def test_both_forms_have_the_same_methods() -> None:
    """What one can do, the other can."""

    def public(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert public(Queues) == public(BlockingQueues)


def test_a_connector_that_keeps_nothing_cannot_seek(config: dict[str, Any]) -> None:
    """It says so, before anything happens."""
    with BlockingQueues(config) as queues, pytest.raises(CapabilityError, match="'sqlite' cannot seek"):
        queues.seek("orders", "beginning")


def test_a_misspelt_queue_is_named(config: dict[str, Any]) -> None:
    """With the nearest name."""
    with BlockingQueues(config) as queues, pytest.raises(ConfigError, match="'orders'"):
        queues.send("oders", 1)


def test_a_reader_gets_nothing_more_once_the_queues_are_closed(config: dict[str, Any]) -> None:
    """What was fetched ahead is requeued by then, and another reader may have it."""

    async def main() -> None:
        queues = Queues(config)
        await queues.send_batch("orders", [{"id": number} for number in range(3)])
        seen = []
        async for delivery in queues.read("orders"):
            seen.append(delivery.object.id)
            await delivery.done()
            await queues.close()
        assert seen == [0]
        async with Queues(config) as others:
            assert await numbers(others) == [1, 2]

    asyncio.run(main())


def test_threads_may_close_the_same_queues(config: dict[str, Any]) -> None:
    """One that reads ends by closing them, and so does the one that started it."""
    for _ in range(20):
        queues = BlockingQueues(config)
        with ThreadPoolExecutor(8) as threads:
            for each in [threads.submit(queues.close) for _ in range(8)]:
                each.result()


def test_closed_queues_say_so(config: dict[str, Any]) -> None:
    """Instead of opening again."""

    async def main() -> None:
        queues = Queues(config)
        await queues.close()
        with pytest.raises(PenstockError, match="closed"):
            await queues.send("orders", Order(id=1))

    asyncio.run(main())


def test_a_reader_that_is_killed_loses_nothing(config: dict[str, Any]) -> None:
    """Between `read` and `done`: all that it had comes again when its leases end."""
    shared = {"brief": config["brief"]}
    program = f"""
import os, signal
from penstock import BlockingQueues
with BlockingQueues({shared!r}) as queues:
    for batch in queues.read("brief", batch=5):
        os.kill(os.getpid(), signal.SIGKILL)
"""
    with BlockingQueues(config) as queues:
        queues.send_batch("brief", [{"id": number} for number in range(5)])
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    with BlockingQueues(config) as queues:
        seen: list[int] = []
        queues.process("brief", lambda batch: seen.extend(order.id for order in batch.objects), idle=2.0)
    assert seen == [0, 1, 2, 3, 4]
