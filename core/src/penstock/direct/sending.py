"""Sends objects without an engine: a long list is on its way while its rest is still encoded."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from penstock.dead_letters import error_text
from penstock.direct.collector import collector_paused
from penstock.errors import FunctionError, NotSent, ProduceError
from penstock.message import Record
from penstock.queues.cancellation import raise_if_exit
from penstock.queues.queue import OutputQueue
from penstock.routing import Inherit, Output

CHUNK = 10_000  # objects that are encoded before one of them is sent
ON_THE_WAY = 2  # chunks; while one is confirmed, the server has work

Refused = list[tuple[int, ProduceError]]


async def send_all(target: OutputQueue, objects: Iterable[Any]) -> None:
    """Send objects in their order, and wait until each is confirmed; see `Queues.send_batch`."""
    rest, begun, refused = iter(objects), 0, Refused()
    failure: Exception | None = None
    on_the_way: deque[asyncio.Task[Refused]] = deque()
    try:
        while failure is None:
            try:
                records = _records(target, list(islice(rest, CHUNK)), begun)
            except Exception as error:  # noqa: BLE001  (raised once all that was sent is confirmed)
                failure = error
                break
            if len(records) < CHUNK:  # the last ones; a short list needs no task
                refused += await _send(target, records, begun)
                break
            if len(on_the_way) == ON_THE_WAY:
                refused += await on_the_way.popleft()
            on_the_way.append(asyncio.create_task(_send(target, records, begun)))
            await asyncio.sleep(0)  # the task gives them to the client, which sends them meanwhile
            begun += len(records)
        while on_the_way:
            refused += await on_the_way.popleft()
    finally:
        for task in on_the_way:
            task.cancel()
        await asyncio.gather(*on_the_way, return_exceptions=True)
    if failure is not None:
        raise _with_what_was_sent(failure, begun, len(refused))
    if refused:
        raise NotSent(str(target), begun + len(records), sorted(refused, key=lambda each: each[0]))


async def _send(target: OutputQueue, records: Sequence[Record], first: int) -> Refused:
    errors = await target.produce(records) if records else ()
    return [(place, error) for place, error in enumerate(errors, first) if error is not None]


def _with_what_was_sent(failure: Exception, begun: int, refused: int) -> Exception:
    """The error, which says how much was stored before it."""
    if not begun:
        return failure
    stored = f"of the first {begun:,} objects {begun - refused:,} are stored, and none of the others"
    if isinstance(failure, FunctionError):
        return FunctionError(f"{failure}; {stored}")
    failure.add_note(stored)
    return failure


def _records(target: OutputQueue, objects: Sequence[Any], first: int) -> list[Record]:
    encode, key_of = target.encode, target.key_of
    if not any(issubclass(kind, Output) for kind in set(map(type, objects))):
        try:
            with collector_paused():
                if key_of is None:
                    return [Record(encode(obj)) for obj in objects]
                return [Record(encode(obj), key_of(obj)) for obj in objects]
        except BaseException as error:  # noqa: BLE001  (which object it was is found out below)
            raise_if_exit(error)
    return [_record(target, number, obj) for number, obj in enumerate(objects, first)]


def _record(target: OutputQueue, number: int, obj: Any) -> Record:
    """One record; a message of the error names the object by its number."""
    try:
        if not isinstance(obj, Output):
            return Record(target.encode(obj), target.key_of and target.key_of(obj))
        if obj.queue != target.name:
            raise FunctionError(f"it is an Output for queue {obj.queue!r}")
        key = obj.key
        if isinstance(key, Inherit):
            key = target.key_of and target.key_of(obj.obj)
        record = Record(target.encode(obj.obj), key, obj.headers, obj.delay, obj.options)
        target.check(record)
    except BaseException as error:
        raise_if_exit(error)
        text = str(error) if isinstance(error, FunctionError) else f"{type(error).__name__}: {error_text(error)}"
        raise FunctionError(f"queue {target.name!r}, object {number}: {text}") from error
    return record
