"""The letters of a dead-letter queue, read without changing anything: which there are, filtered, and counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple

from penstock.config.files import Source, load
from penstock.config.model import Configuration
from penstock.config.resolve import registry_for, resolve_queue
from penstock.dead_letters import DeadLetter, read
from penstock.message import QueueMessage
from penstock.options import ConnectorOptions
from penstock.queues.browsing import BrowsedQueue
from penstock.queues.resolved_queue import ResolvedQueue


@dataclass(frozen=True, slots=True)
class Letter:
    """One message of a dead-letter queue, which may also be another program's.

    Attributes:
        message: As it was read, out of its envelope.
        details: What its headers say.
        died_at: When it was dead-lettered, else when it was stored; None if neither is known.
    """

    message: QueueMessage
    details: DeadLetter
    died_at: datetime | None

    @property
    def is_ours(self) -> bool:
        """Whether it says why it died; else another program, or a function, sent it."""
        return bool(self.details.stage)

    @property
    def is_settled(self) -> bool:
        """Whether a log keeps it although it was replayed, exported or dropped."""
        return getattr(self.message, "state", "") == "settled"


def letter(message: QueueMessage) -> Letter:
    """A message, out of its envelope, as a letter."""
    details = read(message)
    stored = None if message.timestamp is None else datetime.fromtimestamp(message.timestamp, UTC)
    return Letter(message, details, details.failed_at or stored)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters are meant; a field that is empty asks for nothing.

    Attributes:
        stage: The stage.
        error: A part of "Type: text", in any case.
        origin, app: The origin queue, and the app.
        since, until: When they died; a letter without a time is in no span.
        ids: Their ids or positions.
    """

    stage: str = ""
    error: str = ""
    origin: str = ""
    app: str = ""
    since: datetime | None = None
    until: datetime | None = None
    ids: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return self != Filter()

    def matches(self, letter: Letter) -> bool:
        """Whether the letter is meant."""
        details, died_at = letter.details, letter.died_at
        return (
            self.stage in ("", details.stage)
            and self.error.lower() in f"{details.error_type}: {details.error_text}".lower()
            and self.origin in ("", details.queue)
            and self.app in ("", details.app)
            and (self.since is None or (died_at is not None and died_at >= self.since))
            and (self.until is None or (died_at is not None and died_at <= self.until))
            and (not self.ids or details.id in self.ids or letter.message.position in self.ids)
        )


def dead_letter_queue(source: Source | Configuration, name: str) -> ResolvedQueue:
    """A dead-letter queue of a configuration, to be browsed, and consumed beside its workers.

    Raises:
        ConfigError: the file or the queue is missing, or an option is wrong.
    """
    configuration = load(source)
    found = resolve_queue(configuration, name, "input", registry=registry_for(configuration), browsing=True)
    if not isinstance(found.options, ConnectorOptions):
        return found
    return replace(found, options=found.options.for_tools())


async def letters(queue: BrowsedQueue, wanted: Filter, *, settled: bool = False) -> AsyncIterator[Letter]:
    """The letters of a queue that a filter means, by position.

    Args:
        queue: The dead-letter queue.
        wanted: The filter.
        settled: Also those that a log keeps although they are settled.
    """
    async for opened in queue.messages():
        found = letter(opened.message)
        if wanted.matches(found) and (settled or not found.is_settled):
            yield found


@dataclass(slots=True)
class Group:
    """Letters that died in the same way.

    Attributes:
        stage, error, origin, app: What they have in common; `error` is the class of the exception.
        count: How many there are.
        first, last: When the first and the last of them died.
        position: Of the last one.
        text: Its error text.
    """

    stage: str
    error: str
    origin: str
    app: str
    count: int = 0
    first: datetime | None = None
    last: datetime | None = None
    position: str = ""
    text: str = ""

    def add(self, letter: Letter) -> None:
        """Count one more."""
        self.count += 1
        died_at = letter.died_at
        if died_at is not None:
            self.first = min(self.first or died_at, died_at)
            self.last = max(self.last or died_at, died_at)
        self.position, self.text = letter.message.position, letter.details.error_text


def count(found: Letter, groups: dict[tuple[str, ...], Group]) -> None:
    """Count a letter in its group."""
    details = found.details
    key = (details.stage, details.error_type, details.queue, details.app)
    groups.setdefault(key, Group(*key)).add(found)


class Death(NamedTuple):
    """What is remembered of each of many letters, without its body.

    Attributes:
        time: When it died.
        position: Where it stands.
        held: A consumer has it, or a delay: it comes later.
    """

    time: datetime | None
    position: str
    held: bool


def death(found: Letter) -> Death:
    """What is remembered of a letter."""
    return Death(
        found.died_at, found.message.position, getattr(found.message, "state", "") in ("leased", "delayed", "unknown")
    )


async def deaths(queue: ResolvedQueue, wanted: Filter) -> list[Death]:
    """The letters that a filter means, in the order of their death. Changes nothing."""
    async with BrowsedQueue(queue) as browsed:
        return in_order(queue, [death(found) async for found in letters(browsed, wanted)])


def in_order(queue: ResolvedQueue, deaths: list[Death]) -> list[Death]:
    """Letters in the order of their death.

    Args:
        queue: Where they are. If all of it is in one order, that is more exact than the letters' times.
        deaths: By position.
    """
    if queue.capabilities.ordering == "queue":
        return deaths
    return sorted(deaths, key=lambda death: death.time or datetime.min.replace(tzinfo=UTC))
