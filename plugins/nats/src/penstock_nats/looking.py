"""What tools ask of a queue: browse, count, probe, create. Nothing here delivers a message."""

from __future__ import annotations

from contextlib import suppress

from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError

from penstock.connectors import Backlog, Created, Probed
from penstock.errors import ConnectorError, NotConnected
from penstock.message import BrowsedMessage, BrowseState
from penstock_nats.connection import Connection
from penstock_nats.options import NatsOptions
from penstock_nats.streams import LATER, delayed, find_group, find_stream
from penstock_nats.wire import read

MAX_BYTES = 8 * 2**20  # of bodies in a page


class Looker:
    """Looks at one queue over a connection of its own, which is opened when it is first needed."""

    def __init__(self, subject: str, options: NatsOptions) -> None:
        self._subject = subject
        self._options = options
        self._connection = Connection(options)

    async def _open(self) -> None:
        with suppress(NotConnected):
            if self._connection.client.is_connected:
                return
        await self._connection.open()

    async def _stream(self, jetstream: JetStreamContext) -> str:
        try:
            return await jetstream.find_stream_name_by_subject(self._subject)
        except NotFoundError:
            raise ConnectorError(f"no stream holds subject {self._subject!r}") from None

    async def browse(self, limit: int, after: str | None) -> list[BrowsedMessage]:
        """See `Consumer.browse`; one request a message, since a stream is read by number."""
        await self._open()
        page: list[BrowsedMessage] = []
        size = 0
        with self._connection.jetstream() as jetstream:
            stream = await self._stream(jetstream)
            number = _number(after, stream) + 1
            settled = await self._settled_up_to(jetstream, stream)
            subjects = dict.fromkeys((self._subject, f"{LATER}.{self._subject}.>"))
            # The next of each kind; the one that has the lower number comes first.
            waiting = {subject: await _next(jetstream, stream, subject, number) for subject in subjects}
            while len(page) < limit and size < MAX_BYTES:
                found = [(message.seq or 0, subject, message) for subject, message in waiting.items() if message]
                if not found:
                    break
                number, subject, message = min(found)
                state: BrowseState = (
                    "delayed" if subject != self._subject else "settled" if number <= settled else "kept"
                )
                page.append(_browsed(message, stream, state))
                size += len(message.data or b"")
                waiting[subject] = await _next(jetstream, stream, subject, number + 1)
        return page

    async def _settled_up_to(self, jetstream: JetStreamContext, stream: str) -> int:
        """The number up to which the group has settled everything; above it, the server does not tell."""
        with suppress(NotFoundError):
            group = await jetstream.consumer_info(stream, self._options.group)
            return group.ack_floor.stream_seq if group.ack_floor else 0
        return 0

    async def backlog(self) -> Backlog:
        """See `Consumer.backlog`. A group that does not exist yet has everything before it."""
        await self._open()
        with self._connection.jetstream() as jetstream:
            stream = await self._stream(jetstream)
            later = await delayed(jetstream, stream, self._subject)
            try:
                group = await jetstream.consumer_info(stream, self._options.group)
            except NotFoundError:
                info = await jetstream.stream_info(stream, subjects_filter=self._subject)
                waiting, in_flight, settled = sum((info.state.subjects or {}).values()), 0, 0
            else:
                waiting, in_flight = group.num_pending or 0, group.num_ack_pending or 0
                settled = group.ack_floor.stream_seq if group.ack_floor else 0
            oldest = await _next(jetstream, stream, self._subject, settled + 1) if waiting + in_flight else None
        return Backlog(waiting, in_flight, later, oldest.time.timestamp() if oldest and oldest.time else None)

    async def create(self) -> Created:
        """See `Producer.create`."""
        await self._open()
        options = self._options.model_copy(update={"create": True})
        with self._connection.jetstream() as jetstream:
            try:
                stream, existed = await jetstream.find_stream_name_by_subject(self._subject), True
            except NotFoundError:
                stream, existed = "", False
            stream = await find_stream(jetstream, self._subject, options, self._connection.has_schedules)
            await find_group(jetstream, stream, self._subject, options)
        return Created(existed, f"stream {stream!r} with the group {options.group!r}")

    async def probe(self, group: str | None = None) -> list[Probed]:
        """See `Consumer.probe`."""
        await self._open()
        answers = [Probed("reachable", True, f"NATS at {self._connection.address} answers, with this user")]
        with self._connection.jetstream() as jetstream:
            try:
                stream = await jetstream.find_stream_name_by_subject(self._subject)
            except NotFoundError:
                if not self._options.create:
                    raise ConnectorError(f"no stream holds subject {self._subject!r}; set `create: true`") from None
                return [*answers, Probed("exists", True, "the stream is created when a worker starts")]
            answers.append(Probed("exists", True, f"stream {stream!r} holds {self._subject!r}"))
            if group is not None:
                try:
                    await jetstream.consumer_info(stream, group)
                    answers.append(Probed("group", True, f"the group {group!r} exists"))
                except NotFoundError:
                    answers.append(Probed("group", self._options.create or None, f"there is no group {group!r} yet"))
        return answers

    async def close(self) -> None:
        """Idempotent."""
        await self._connection.close()


async def _next(jetstream: JetStreamContext, stream: str, subject: str, number: int) -> RawStreamMsg | None:
    try:
        return await jetstream.get_msg(stream, seq=number, subject=subject, next=True)
    except NotFoundError:
        return None


def _number(position: str | None, stream: str) -> int:
    if position is None:
        return 0
    name, _, number = position.rpartition("/")
    if name != stream or not number.isdecimal():
        raise ConnectorError(f"{position!r} is not a position of stream {stream!r}; one looks like '{stream}/17'")
    return int(number)


def _browsed(message: RawStreamMsg, stream: str, state: BrowseState) -> BrowsedMessage:
    body, key, headers = read(message.data or b"", message.headers)
    return BrowsedMessage(
        body, f"{stream}/{message.seq}", key=key, headers=headers,
        timestamp=message.time.timestamp() if message.time else None, state=state,
    )  # fmt: skip
