"""Answers come in any order, from any thread, and one wait gets them all."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from penstock.confirmations import Confirmations
from penstock.errors import NotConnected


def run(work: Any) -> Any:
    async def main() -> Any:
        async with asyncio.timeout(15):
            return await work

    return asyncio.run(main())


def test_answers_come_back_in_the_order_of_the_requests() -> None:
    """From several threads, a repeated one ignored."""

    async def main() -> list[str]:
        confirmations = Confirmations[str](4)

        def report(*indexes: int) -> None:
            for index in indexes:
                confirmations.report(index, f"answer {index}")
                confirmations.report(index, "again")

        threads = [threading.Thread(target=report, args=indexes) for indexes in ((3, 0), (2, 1))]
        for thread in threads:
            thread.start()
        return await confirmations.wait(10.0)

    assert run(main()) == ["answer 0", "answer 1", "answer 2", "answer 3"]


def test_answers_that_come_while_requests_are_sent_count() -> None:
    """Also if all are there before the wait begins; no request needs no answer."""

    async def main() -> None:
        confirmations = Confirmations[int](2)

        async def send() -> None:
            confirmations.report(0, 10)
            await asyncio.sleep(0)
            confirmations.report(1, 11)

        assert await confirmations.wait(10.0, send()) == [10, 11]
        assert await confirmations.wait(10.0) == [10, 11]
        assert await Confirmations[int](0).wait(10.0) == []

    run(main())


def test_a_backend_that_says_nothing_counts_as_away() -> None:
    """What it has answered is known; sending is under the same limit."""

    async def main() -> None:
        confirmations = Confirmations[str](3)
        confirmations.report(1, "stored")
        with pytest.raises(NotConnected, match=r"^no answer for 0\.05 s; 2 of 3 are missing$"):
            await confirmations.wait(0.05)
        assert confirmations.reported == {1: "stored"}
        with pytest.raises(NotConnected):
            await Confirmations[str](1).wait(0.05, asyncio.sleep(30))

    run(main())


def test_each_answer_starts_the_time_anew() -> None:
    """A slow backend is not away."""

    async def main() -> list[int]:
        confirmations = Confirmations[int](8)

        async def answer() -> None:
            for index in range(8):
                await asyncio.sleep(0.1)
                confirmations.report(index, index)

        answering = asyncio.create_task(answer())
        answers = await confirmations.wait(0.6)
        await answering
        return answers

    assert run(main()) == list(range(8))


def test_it_can_be_ended_before() -> None:
    """With what is there, or with the reason why no more will come: the first one counts."""

    async def main() -> None:
        short = Confirmations[str](3)
        short.report(2, "only one")
        short.end()
        assert await short.wait(10.0) == ["only one"]

        lost = Confirmations[str](3)
        lost.end(NotConnected("lost"))
        lost.end(NotConnected("closed"))
        with pytest.raises(NotConnected, match="lost"):
            await lost.wait(10.0)
        return

    run(main())


def test_an_answer_after_the_event_loop_has_ended_harms_nothing() -> None:
    """Its thread goes on."""

    async def main() -> Confirmations[str]:
        return Confirmations[str](1)

    confirmations = run(main())
    confirmations.report(0, "late")
    assert confirmations.reported == {0: "late"}
