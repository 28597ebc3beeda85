"""Asks the servers of queues whether the queues can be used: all at once, within a time, without changing anything.

async for asked in probe(queues):
    print(asked.queue.name, asked.ok, asked.text)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from penstock.connectors import Consumer, Producer
from penstock.dead_letters import error_text
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected, PenstockError
from penstock.known_secrets import hide
from penstock.probes import Probed, Question
from penstock.queues.adapters import make_consumer, make_producer
from penstock.queues.cancellation import raise_if_exit, raise_if_ours
from penstock.queues.resolved_queue import ResolvedQueue

TIMEOUT = 15.0  # seconds for one queue; a connector gives up earlier, and says more
CLOSE_TIMEOUT = 2.0  # seconds for closing what was opened to ask

QUESTIONS: Mapping[Question, str] = {
    "reachable": "reachable",
    "authorised": "authorised",
    "exists": "the queue exists",
    "group": "the group can be read",
    "clock": "clock",
}
"""What is asked, in this order."""


@dataclass(frozen=True, slots=True)
class ProbedQueue:
    """What the server of a queue answered.

    Attributes:
        queue: The queue, in one role.
        answers: One for each question that could be asked; empty if the connector cannot ask any.
    """

    queue: ResolvedQueue
    answers: Sequence[Probed]

    @property
    def ok(self) -> bool:
        """Whether no answer says that the queue cannot be used."""
        return all(answer.ok is not False for answer in self.answers)

    @property
    def text(self) -> str:
        """All answers in one line, those that are not well first."""
        if not self.answers:
            return f"connector {self.queue.connector!r} cannot be asked"
        wrong = [answer.text for answer in self.answers if answer.ok is False]
        well = [answer.text for answer in self.answers if answer.ok]
        unknown = [f"{QUESTIONS[answer.question]}: {answer.text}" for answer in self.answers if answer.ok is None]
        return "; ".join([*wrong, *well, *unknown])


async def probe(queues: Iterable[ResolvedQueue], timeout: float | None = None) -> AsyncGenerator[ProbedQueue, None]:
    """Ask about queues, all at once, and yield each as it answers.

    Args:
        queues: What to ask about, each in its role.
        timeout: Seconds for each, by default 15; a server that accepts a connection and never answers takes no longer.
    """
    asking = [asyncio.create_task(_ask(queue, timeout or TIMEOUT)) for queue in queues]
    try:
        for answered in asyncio.as_completed(asking):
            yield await answered
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


async def _ask(queue: ResolvedQueue, timeout: float) -> ProbedQueue:
    connector: Consumer | Producer | None = None
    try:
        make = make_consumer if queue.role == "input" else make_producer
        connector = make(queue.connector_class, queue.value, queue.options)
        async with asyncio.timeout(timeout):
            answers = tuple(await connector.probe())
    except TimeoutError:
        answers = (Probed("reachable", False, f"no answer within {timeout:g} s; {_LOOK}"),)
    except PenstockError as error:
        text = hide(error_text(error))
        away = isinstance(error, NotConnected) and ";" not in text  # it names no remedy
        answers = (Probed(_question(error), False, f"{text.rstrip('.')}; {_LOOK}" if away else text),)
    # The connector's own code may raise anything.
    except BaseException as error:  # noqa: BLE001
        raise_if_exit(error)
        raise_if_ours(error)
        bug = f"{queue.connector_class.__name__}.probe raised {type(error).__name__}: {error_text(error)}"
        answers = (Probed("reachable", False, hide(bug)),)
    finally:
        if connector is not None:
            await _close(connector)
    return ProbedQueue(queue, answers)


_LOOK = "look at the address, the server and the network between them"


def _question(error: PenstockError) -> Question:
    if isinstance(error, NotConnected):
        return "reachable"
    if isinstance(error, ConnectorError) and not isinstance(error, FatalConnectorError):
        return "exists"
    return "authorised"


async def _close(connector: Consumer | Producer) -> None:
    with suppress(Exception):  # it holds nothing that could be lost
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await connector.shutdown()
