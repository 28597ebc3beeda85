"""Wrappers that watch a connector: each call has a time limit, and each result is checked against the contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from time import monotonic
from typing import get_args

from penstock.connectors import Backlog, Consumer, Created, Producer
from penstock.errors import ConnectorError, PenstockError, ProduceError
from penstock.message import BrowsedMessage, BrowseState, QueueMessage, Record
from penstock_kit.broken import Broken, must
from penstock_kit.limits import within

SHUTDOWN_LIMIT = 12.0  # seconds; the contract says about 10
FULL_HAND = 100  # messages asked for where a test does not care


@asynccontextmanager
async def call(name: str, seconds: float, look: str, promise: str = "") -> AsyncIterator[None]:
    """Make one call of the contract, with a time limit. It may raise only Penstock's errors.

    Raises:
        Broken: the call took longer, or raised another error.
    """
    try:
        async with within(seconds, promise or f"{name} returns; it had not after {seconds:g} s", look):
            yield
    except Broken:
        raise
    except PenstockError as error:
        # Expected after an injected fault; otherwise the author needs this hint.
        note = f"raised by {name}(). If nothing was wrong with the backend, look at: {look}"
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
        raise
    except Exception as error:
        raise Broken(
            f"{name} raised {type(error).__name__}: {error}\n    look at: how errors of the client become "
            f"NotConnected, ConnectorError or FatalConnectorError; and whether this is a bug of {name}"
        ) from error


class WatchedConsumer:
    """A consumer of any form, behind its adapter, whose every answer is checked.

    Args:
        consumer: The consumer.
        timeout: Seconds that a call may take beyond its own waiting time.
        idle_timeout: Seconds without a message after which none is expected.
        first: Seconds that the first message may take, which includes joining a group.
    """

    def __init__(self, consumer: Consumer, timeout: float, idle_timeout: float) -> None:
        self.inner = consumer
        self._timeout = timeout
        self._idle_timeout = idle_timeout
        self._open = False

    @property
    def lease(self) -> float | None:
        """See `Consumer.lease`."""
        return self.inner.lease

    async def connect(self) -> None:
        """See `Consumer.connect`."""
        # From here on there is something to shut down, also if this fails.
        self._open = True
        async with call("connect", self._timeout + 5, "timeouts of the client while it connects"):
            await self.inner.connect()

    async def consume(self, max_messages: int = FULL_HAND, timeout: float | None = None) -> Sequence[QueueMessage]:
        """See `Consumer.consume`; without a timeout it waits as long as a message may need."""
        timeout = self._timeout if timeout is None else timeout
        promise = f"consume(…, timeout={timeout:g}) returns after about {timeout:g} s; it did not"
        look = "how consume waits: its timeout must reach the client"
        async with call("consume", timeout + self._timeout, look, promise):
            messages = await self.inner.consume(max_messages, timeout)
        check_messages(messages, max_messages)
        return messages

    async def receive(self, count: int, at_once: int = FULL_HAND, timeout: float | None = None) -> list[QueueMessage]:
        """Consume until so many different messages are here, for as long as they may need; fewer if no more come."""
        messages: list[QueueMessage] = []
        different: set[tuple[str, bytes | None]] = set()
        deadline = monotonic() + (self._timeout if timeout is None else timeout)
        while len(different) < count and (left := deadline - monotonic()) > 0:
            found = await self.consume(min(at_once, count - len(different)), left)
            messages += found
            different.update((message.position, message.message) for message in found)
        return messages

    async def rest(self, at_once: int = FULL_HAND, idle_timeout: float | None = None) -> list[QueueMessage]:
        """Whatever else comes, until nothing has come for a while."""
        messages: list[QueueMessage] = []
        while found := await self.consume(at_once, self._idle_timeout if idle_timeout is None else idle_timeout):
            messages += found
        return messages

    async def find_empty(self, timeout: float, most: int = 10) -> None:
        """Consume from a queue in which nothing waits."""
        found = await self.consume(most, timeout)
        must(
            not found,
            f"all messages of this queue are settled or in flight, so consume returns none; it returned {len(found)}: "
            f"{found}",
            "what consume hands out a second time, and whether on_success was done when it returned",
        )

    async def one(self) -> QueueMessage:
        """The next message; there must be one."""
        messages = await self.consume(1)
        must(
            messages,
            f"a message that waits in the queue is delivered; none was within {self._timeout:g} s",
            "consume(), and what happens to a message that is requeued, or whose consumer went away",
        )
        return messages[0]

    async def succeed(self, messages: Sequence[QueueMessage]) -> int:
        """`on_success`; returns how many were no longer ours."""
        async with call("on_success", self._timeout, "settling must not wait for messages"):
            late = await self.inner.on_success(messages)
        must(
            late is None or (isinstance(late, int) and 0 <= late <= len(messages)),
            f"on_success returns how many messages were no longer ours, or None; it returned {late!r} for "
            f"{len(messages)} messages",
            "the return value of on_success",
        )
        return late or 0

    async def fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:
        """See `Consumer.on_fail`."""
        async with call("on_fail", self._timeout, "requeueing must not wait for messages"):
            await self.inner.on_fail(messages, delay)

    async def extend(self, messages: Sequence[QueueMessage]) -> None:
        """See `Consumer.extend`."""
        async with call("extend", self._timeout, "extending must not wait for messages"):
            await self.inner.extend(messages)

    async def lag(self) -> int | None:
        """See `Consumer.lag`."""
        async with call("lag", self._timeout, "lag must not wait for messages"):
            lag = await self.inner.lag()
        must(
            lag is None or (isinstance(lag, int) and lag >= 0),
            f"lag() is a number from 0, or None; it was {lag!r}",
            "the return value of lag",
        )
        return lag

    async def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        """See `Consumer.browse`."""
        self._open = True  # it opens what it needs, which is to be shut down
        try:
            async with call("browse", self._timeout + 5, "browse must not wait for messages"):
                messages = await self.inner.browse(limit, after)
        except ConnectorError as error:
            raise Broken(
                f"browse works on a queue that is there, also before connect; it raised {type(error).__name__}: "
                f"{error}\n    look at: browse opens what it needs; `after` is the position of a browsed message"
            ) from error
        check_browsed(messages, limit)
        return messages

    async def claim(self, positions: Sequence[str]) -> Sequence[QueueMessage]:
        """See `Consumer.claim`."""
        async with call("claim", self._timeout, "claim must not wait for messages"):
            messages = await self.inner.claim(positions)
        found = [message.position for message in messages]
        must(
            set(found) <= set(positions) and len(set(found)) == len(found),
            f"claim({list(positions)}) delivers these messages, each once; it delivered {found}",
            "what claim delivers besides, or twice",
        )
        for message in messages:
            _check_types(message, "claim")
        return messages

    async def follow(self, timeout: float) -> Sequence[BrowsedMessage] | None:
        """See `Consumer.follow`."""
        self._open = True
        async with call("follow", timeout + self._timeout + 5, "how follow waits: its timeout must reach the client"):
            messages = await self.inner.follow(timeout)
        if messages is not None:
            check_browsed(messages, len(messages))
        return messages

    async def seek(self, place: str | datetime) -> None:
        """See `Consumer.seek`."""
        self._open = True
        async with call("seek", self._timeout + 5, "seek must not wait for messages"):
            await self.inner.seek(place)

    async def backlog(self) -> Backlog:
        """See `Consumer.backlog`."""
        self._open = True
        try:
            async with call("backlog", self._timeout + 5, "backlog must not wait for messages"):
                found = await self.inner.backlog()
        except ConnectorError as error:
            raise Broken(
                f"backlog works on a queue that is there, also before connect; it raised {type(error).__name__}: "
                f"{error}\n    look at: backlog opens what it needs"
            ) from error
        must(isinstance(found, Backlog), f"backlog returns a Backlog; it returned {found!r}", "what backlog returns")
        return found

    async def shutdown(self) -> None:
        """See `Consumer.shutdown`; the second call is left out."""
        if not self._open:
            return
        self._open = False
        async with call("shutdown", SHUTDOWN_LIMIT, "what shutdown waits for: it must be bounded"):
            await self.inner.shutdown()


class WatchedProducer:
    """A producer of any form, behind its adapter, whose every answer is checked."""

    def __init__(self, producer: Producer, timeout: float) -> None:
        self.inner = producer
        self._timeout = timeout
        self._open = False

    async def connect(self) -> None:
        """See `Producer.connect`."""
        self._open = True
        async with call("connect", self._timeout + 5, "timeouts of the client while it connects"):
            await self.inner.connect()

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """See `Producer.produce`."""
        async with call("produce", self._timeout, "how produce waits for the confirmation"):
            answers = await self.inner.produce(records)
        check_answers(answers, records)
        return answers

    async def send(self, records: Sequence[Record]) -> None:
        """Produce records, all of which must be confirmed."""
        answers = await self.produce(records)
        refused = [error for error in answers if error is not None]
        must(
            not refused,
            f"the backend takes these records; {len(refused)} of {len(records)} were refused: {refused[:1]}",
            "produce(): its answers, and what it cannot carry although it is declared",
        )

    async def create(self) -> Created:
        """See `Producer.create`."""
        try:
            async with call("create", self._timeout + 5, "create opens what it needs, and closes that"):
                made = await self.inner.create()
        except ConnectorError as error:
            raise Broken(
                f"create works whether the queue is there or not; it raised {type(error).__name__}: {error}\n    "
                "look at: what the backend says of a queue that exists; answer `Created(existed=True)`"
            ) from error
        must(isinstance(made, Created), f"create returns a Created; it returned {made!r}", "what create returns")
        return made

    async def shutdown(self) -> None:
        """See `Producer.shutdown`; the second call is left out."""
        if not self._open:
            return
        self._open = False
        async with call("shutdown", SHUTDOWN_LIMIT, "what shutdown waits for: it must be bounded"):
            await self.inner.shutdown()


def check_messages(messages: Sequence[QueueMessage], most: int) -> None:
    """What the contract says of everything that `consume` returns."""
    must(
        isinstance(messages, Sequence) and not isinstance(messages, (str, bytes)),
        f"consume returns a list of messages, an empty one if there are none; it returned a {type(messages).__name__}",
        "every return of consume, also that of an empty queue",
    )
    must(
        len(messages) <= most,
        f"consume(max_messages={most}) returns at most {most} messages; it returned {len(messages)}: the engine has no "
        "room for more",
        "how max_messages reaches the client; what is fetched in larger portions must wait inside the connector",
    )
    for message in messages:
        must(
            isinstance(message, QueueMessage),
            f"consume returns QueueMessage objects; it returned a {type(message).__name__}",
            "what consume makes of the client's messages",
        )
        _check_types(message, "consume")
        must(
            message.attempts >= 1,
            f"attempts counts deliveries, from 1; it was {message.attempts}",
            "the attempts of a QueueMessage",
        )


def check_browsed(messages: Sequence[BrowsedMessage], limit: int) -> None:
    """What the contract says of everything that `browse` returns."""
    legal = isinstance(messages, Sequence) and all(isinstance(message, BrowsedMessage) for message in messages)
    must(legal, "browse returns a list of BrowsedMessage objects; it did not", "what browse returns, also at the end")
    must(
        len(messages) <= limit,
        f"browse(limit={limit}) returns at most {limit} messages; it returned {len(messages)}",
        "how `limit` reaches the backend",
    )
    for message in messages:
        _check_types(message, "browse")
        must(
            message.state in get_args(BrowseState) and message.attempts >= 0 and message.position != "",
            f"a browsed message has a position, attempts from 0, and a state of {get_args(BrowseState)}; {message!r} "
            f"has {message.attempts} and {message.state!r}",
            "what browse makes of what it reads; see penstock.message.BrowsedMessage",
        )


def _check_types(message: QueueMessage, method: str) -> None:
    body, key = message.message, message.key
    legal = (
        (body is None or type(body) is bytes)
        and (key is None or type(key) is bytes)
        and all(type(name) is str and type(value) is bytes for name, value in message.headers)
        and (message.timestamp is None or isinstance(message.timestamp, float))
        and type(message.attempts) is int
        and type(message.position) is str
    )
    must(
        legal,
        f"a message has bytes as body and key, pairs of str and bytes as headers, a float or None as timestamp, an int "
        f"as attempts, a str as position; {message!r} has not",
        f"what {method} makes of the client's messages; see penstock.message.QueueMessage",
    )


def check_answers(answers: Sequence[ProduceError | None], records: Sequence[Record]) -> None:
    """What the contract says of everything that `produce` returns."""
    legal = len(answers) == len(records) and all(each is None or isinstance(each, ProduceError) for each in answers)
    must(
        legal,
        f"produce returns one entry a record, None or a ProduceError; for {len(records)} records it returned "
        f"{len(answers)} entries: {[type(each).__name__ for each in answers][:5]}",
        "the return value of produce",
    )


async def shut_down(connectors: Sequence[WatchedConsumer | WatchedProducer]) -> None:
    """Shut all of them down, whatever happens to one."""
    results = await asyncio.gather(*(each.shutdown() for each in connectors), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
