"""Calls that wait for each other: the urgent one first, those of one kind together, and each with its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from penstock.turns import Call, Joined, Turns

Calls = Sequence[Call[int, str]]


def run(work: Any) -> Any:
    async def main() -> Any:
        async with asyncio.timeout(15):
            return await work

    return asyncio.run(main())


async def settle() -> None:
    """Let everything that can run, run."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_an_urgent_call_waits_for_the_turn_that_runs_and_for_no_other() -> None:
    """The others keep their order."""

    async def main() -> list[str]:
        turns, order = Turns(), list[str]()

        async def one(name: str) -> None:
            async with turns:
                order.append(name)

        async def urgent() -> None:
            async with turns.first():
                order.append("urgent")

        async with turns:
            waiting = [asyncio.create_task(one(name)) for name in "abc"]
            await settle()
            waiting.append(asyncio.create_task(urgent()))
            await settle()
            assert turns.locked()
        await asyncio.gather(*waiting)
        assert not turns.locked()
        return order

    assert run(main()) == ["urgent", "a", "b", "c"]


def test_urgent_calls_without_an_end_leave_every_second_turn_to_the_others() -> None:
    """Each side in its own order: neither a settlement nor an extension waits for ever."""

    async def main() -> list[str]:
        turns, order = Turns(), list[str]()

        async def one(name: str) -> None:
            async with turns:
                order.append(name)

        async def urgent(name: str) -> None:
            async with turns.first():
                order.append(name)

        async with turns:
            waiting = [asyncio.create_task(one(name)) for name in "abc"]
            await settle()
            waiting += [asyncio.create_task(urgent(name)) for name in "UVWXY"]
            await settle()
        await asyncio.gather(*waiting)
        return order

    assert run(main()) == ["U", "a", "V", "b", "W", "c", "X", "Y"]


def test_a_call_that_is_urgent_again_at_once_lets_another_in_between() -> None:
    """Also where no call had to wait for the first of its turns."""

    async def main() -> list[str]:
        turns, order = Turns(), list[str]()

        async def keeper() -> None:
            while "settled" not in order and len(order) < 100:
                async with turns.first():
                    order.append("extended")
                    await settle()

        async def settlement() -> None:
            async with turns:
                order.append("settled")

        keepers = [asyncio.create_task(keeper()) for _ in range(2)]
        await settle()
        await asyncio.gather(settlement(), *keepers)
        return order

    assert run(main()).index("settled") <= 2


def test_a_waiter_that_is_cancelled_costs_no_other_its_turn() -> None:
    """Neither while it waits, nor when its turn comes together with the cancellation."""

    async def main() -> None:
        turns = Turns()

        async def one() -> None:
            async with turns:
                pass

        async with turns:
            early, late, last = (asyncio.create_task(one()) for _ in range(3))
            await settle()
            early.cancel()
            await settle()
        late.cancel()  # it was given the turn just now, and has not run since
        await last
        assert [early.cancelled(), late.cancelled(), turns.locked()] == [True, True, False]

    run(main())


def test_calls_that_wait_are_made_together_and_each_has_its_own_answer() -> None:
    """The first alone, since no other call waited; the others in one group, in their order."""
    groups: list[list[int]] = []

    async def main() -> list[str]:
        async def make(calls: Calls) -> None:
            groups.append([call.request for call in calls])
            await settle()
            for call in calls:
                call.answer(f"answer {call.request}")

        joined = Joined(Turns(), make, lambda: 100)
        first = asyncio.create_task(joined(0))
        await asyncio.sleep(0.01)
        return [*await asyncio.gather(*(joined(number) for number in range(1, 6))), await first]

    answers = run(main())

    assert answers == [f"answer {number}" for number in (1, 2, 3, 4, 5, 0)]
    assert groups == [[0], [1, 2, 3, 4, 5]] or groups == [[0, 1, 2, 3, 4, 5]]


def test_a_group_weighs_no_more_than_it_may() -> None:
    """One call that weighs more comes alone; none is passed over."""
    groups: list[list[int]] = []

    async def main() -> None:
        async def make(calls: Calls) -> None:
            groups.append([call.request for call in calls])
            for call in calls:
                call.answer("")

        turns = Turns()
        joined = Joined(turns, make, lambda: 10)
        async with turns:
            waiting = [asyncio.create_task(joined(weight, weight)) for weight in (4, 4, 4, 25, 3, 7, 1)]
            await settle()
        await asyncio.gather(*waiting)

    run(main())

    assert groups == [[4, 4], [4], [25], [3, 7], [1]]


def test_an_error_reaches_only_those_that_have_no_answer_yet() -> None:
    """And the next calls are made again."""

    async def main() -> list[Any]:
        async def make(calls: Calls) -> None:
            calls[0].answer("done")
            if len(calls) > 1:
                raise ConnectionError("away")

        turns = Turns()
        joined = Joined(turns, make, lambda: 100)
        async with turns:
            waiting = [asyncio.create_task(joined(number)) for number in range(3)]
            await settle()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        return [*results, await joined(3)]

    first, second, third, after = run(main())

    assert (first, after) == ("done", "done")
    assert isinstance(second, ConnectionError)
    assert isinstance(third, ConnectionError)


def test_a_caller_that_is_cancelled_takes_no_other_along() -> None:
    """What is being made with its call is not broken off; a call that was not begun is not made."""
    made: list[int] = []

    async def main() -> list[str]:
        go = asyncio.Event()

        async def make(calls: Calls) -> None:
            await go.wait()
            for call in calls:
                made.append(call.request)
                call.answer("done")

        turns = Turns()
        joined = Joined(turns, make, lambda: 2)
        async with turns:
            waiting = [asyncio.create_task(joined(number)) for number in range(4)]
            await settle()
        await settle()  # 0 and 1 are being made, 2 and 3 wait
        for number in (0, 2):
            waiting[number].cancel()
        await settle()
        go.set()
        return await asyncio.gather(waiting[1], waiting[3])

    assert run(main()) == ["done", "done"]
    assert made == [0, 1, 3]


@pytest.mark.parametrize("ends", [True, False])
def test_closing_drops_what_waits_and_gives_time_to_what_runs(ends: bool) -> None:
    """It says whether that has ended."""

    async def main() -> None:
        go = asyncio.Event()

        async def make(calls: Calls) -> None:
            await go.wait()
            for call in calls:
                call.answer("done")

        joined = Joined(Turns(), make, lambda: 1)
        running, waiting = (asyncio.create_task(joined(number)) for number in range(2))
        await settle()
        if ends:
            asyncio.get_running_loop().call_later(0.05, go.set)
        assert await joined.close(5.0 if ends else 0.05) is ends
        await settle()
        assert waiting.cancelled()
        go.set()
        assert await running == "done"

    run(main())
