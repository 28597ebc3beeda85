"""Changes of tables, in the order of their commits, out of a replication slot."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from struct import Struct
from time import monotonic

import psycopg
from psycopg import sql

from penstock.backoff import Backoff
from penstock.client_slot import ClientSlot
from penstock.errors import ConnectorError, NotConnected
from penstock.message import QueueMessage
from penstock_postgres import slots
from penstock_postgres.errors import ERRORS
from penstock_postgres.log_reader import LogReader
from penstock_postgres.options import ChangesOptions, slot_name
from penstock_postgres.pgoutput import Commit, Decoder, Kinds, Lsn, Sent
from penstock_postgres.replication import Stream
from penstock_postgres.session import Session
from penstock_postgres.snapshot import Snapshot

_KEEPALIVE = Struct("!cQQB")  # "k", end of what the server has decoded, its time, whether it wants an answer
_DATA = 25  # bytes before the message of pgoutput
STAND_BY = Backoff(initial=0.05, maximum=2.0, jitter=0.2)  # seconds between two looks at a slot that another one reads
WATCH_EVERY = 30.0  # seconds between two looks at what the slot keeps
MOMENT = 0.02  # seconds between two looks at a snapshot that is not settled yet
YIELD_EVERY = 500  # messages of the server after which other tasks get a turn

log = logging.getLogger("penstock.postgres")


class ChangesConsumer(LogReader[Lsn]):
    """Reads the slot that `value` names. Another worker of the same slot stands by until it is free.

    There are two connections: one streams, an ordinary one looks at the slot. Nothing is read ahead: what the function
    has no room for stays on the server, which is told every `heartbeat` seconds that this worker is alive.

    After a connection was lost, the same worker goes on where it had read to, unless another one has settled changes
    meanwhile, or the server is another one: then everything that is not settled comes again.
    """

    options: ChangesOptions

    def __init__(self, name: str, options: ChangesOptions) -> None:
        super().__init__(name, options)
        self._session = Session(options)
        self.server = f"PostgreSQL at {self._session.address}"
        self._stream = ClientSlot[Stream](f"the replication slot {self._slot!r}")
        self._kinds = Kinds({}, {})
        self._decoder = Decoder(self._kinds, options.messages)
        self._unread: deque[Sent] = deque()
        self._confirmed: Lsn = 0
        self._snapshot: Snapshot | None = None
        self._system: object = None  # which server and timeline the positions belong to
        self._streams = False
        self._refusals = 0
        self._look_at = 0.0
        self._heartbeat: asyncio.Task[None] | None = None

    @property
    def _slot(self) -> str:
        return slot_name(self.name)

    async def connect(self) -> None:
        """See `Consumer.connect`."""
        earlier = await self._end_stream()
        await self._session.open()
        if earlier is not None:
            # The server may not have noticed, and would keep the slot for it until `session_timeout`.
            await slots.free(self._session, self._slot, earlier)
        slot = await slots.prepare(self._session, self._slot, self.options, known=self._confirmed > 0)
        self._kinds = await slots.kinds(self._session)
        where = (self._session.conninfo(), str(self._session.address))
        self._stream.put(await Stream.open(*where, self.options.session_timeout))
        await self._take_over(slot)
        if self._heartbeat is None:
            self._heartbeat = asyncio.create_task(self._beat())

    async def _take_over(self, slot: slots.Slot | None) -> None:
        """Begin to stream, or to read the snapshot that comes before; or stand by."""
        stream, publication = self._stream.get(), self.options.publication or self._slot
        try:
            with ERRORS.translating(str(self._session.address)):
                if slot is None:
                    self._forget()
                    self._begin()
                    self._snapshot = await Snapshot.begin(self._session, stream, self._slot, self.options)
                    return
                [[system, timeline, *_]] = await stream.run(sql.SQL("IDENTIFY_SYSTEM"))
                await stream.start(self._slot, publication, messages=bool(self.options.messages))
        except ConnectorError as error:
            if not isinstance(error.__cause__, psycopg.errors.ObjectInUse | psycopg.errors.DuplicateObject):
                raise
            self._stand_by(error)
            return
        last = self._decoder.last
        if self._system != (system, timeline) or (slot.confirmed or 0) > self._confirmed:
            self._begin()
            self._unread.clear()
            self._confirmed, self._system, last = slot.confirmed or 0, (system, timeline), (0, 0)
        self._decoder = Decoder(self._kinds, self.options.messages, last)
        self._streams, self._refusals = True, 0

    def _stand_by(self, error: ConnectorError) -> None:
        if self._refusals == 0:
            log.info("%s; this worker stands by until it is free", error)
            self._forget()
        self._refusals += 1
        self._look_at = monotonic() + STAND_BY.delay(self._refusals)

    def _forget(self) -> None:
        """Another worker may have what this one had: it comes again to the next reader."""
        self._end()
        self._unread.clear()
        self._system = None

    async def _fetch(self, most: int) -> Sequence[Sent]:
        try:
            if self._snapshot is not None:
                return await self._read_snapshot(self._snapshot, most)
            if not self._streams and monotonic() >= self._look_at:
                await self._take_over(await slots.find(self._session, self._slot))
            if self._streams:
                await self._read(most)
        except ConnectorError as error:
            self._stream.lose(error)
            if not self._unread:
                raise
        return [self._unread.popleft() for _ in range(min(most, len(self._unread)))]

    async def _read_snapshot(self, snapshot: Snapshot, most: int) -> Sequence[Sent]:
        rows = await snapshot.read(most)
        if not rows and not self._tracker.open:
            # Only now does the slot outlive this worker: if it dies earlier, the snapshot begins anew.
            await snapshot.finish()
            self._snapshot = None
            await self._take_over(await slots.find(self._session, self._slot))
        return rows

    async def _read(self, most: int) -> None:
        stream, decoder, unread = self._stream.get(), self._decoder, self._unread
        count = 0
        # One more than is wanted, so that the commit behind the last one is read: only then can it be confirmed.
        while len(unread) <= most and (data := stream.read()) is not None:
            if data[:1] == b"w":
                for found in decoder.feed(data[_DATA:]):
                    if isinstance(found, Commit):
                        self._mark(found.end, len(unread))
                    else:
                        unread.append(found)
            elif data[:1] == b"k":
                _kind, end, _time, wants_answer = _KEEPALIVE.unpack(data)
                if not decoder.inside:
                    self._mark(end, len(unread))  # log of other tables and databases, which nothing else would let go
                if wants_answer:
                    stream.report(self._confirmed)
            count += 1
            if count % YIELD_EVERY == 0:
                await asyncio.sleep(0)
        await self._store()
        if not unread:
            self._check_silence(stream)

    def _check_silence(self, stream: Stream) -> None:
        if stream.asked is not None and monotonic() - stream.asked > self.options.timeout:
            raise NotConnected(f"{self.server} does not answer")

    async def _wait(self, seconds: float) -> None:
        if self._streams:
            await self._stream.get().wait(seconds)
        else:
            await asyncio.sleep(min(seconds, max(MOMENT, self._look_at - monotonic())))

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        """See `Consumer.on_success`. A transaction is settled with the last of its changes."""
        self._fence()
        return await super().on_success(messages)

    def _fence(self) -> None:
        if self._streams and self._stream.is_open and self._stream.get().stood_still:
            self._stream.lose(NotConnected(f"{self.server}: this process stood still, and may have lost the slot"))
            self._forget()

    async def _store(self) -> None:
        """Report what is settled. It is lost with the connection, and then comes again."""
        stream = self._stream.get()
        if self._streams and (settled := self._settled()) is not None:
            self._confirmed = max(self._confirmed, settled)
            try:
                stream.report(self._confirmed)
            except NotConnected as error:
                self._stream.lose(error)
                raise

    async def _beat(self) -> None:
        """Tell the server that this worker is alive, also while it has no room, and look at what the slot keeps."""
        watched = 0.0
        while True:
            await asyncio.sleep(self.options.heartbeat_seconds)
            self._fence()
            try:
                if self._streams and self._stream.is_open:
                    self._stream.get().report(self._confirmed, ask=True)
            except NotConnected as error:
                self._stream.lose(error)
            if monotonic() - watched > WATCH_EVERY:
                watched = monotonic()
                with suppress(ConnectorError):  # connect will say it
                    await self._watch()

    async def _watch(self) -> None:
        slot = await slots.find(self._session, self._slot)
        self.retained = None if slot is None else slot.retained
        kept = self.retained or 0
        if slot is not None and (slot.state in ("unreserved", "lost") or kept > self.options.warn_retained):
            log.warning(
                "%s: the replication slot %r keeps %s MB of log on the server's disk (%s); messages are settled too "
                "slowly, or one is never settled",
                self.server, self._slot, kept >> 20, slot.state,
            )  # fmt: skip

    async def _end_stream(self) -> int | None:
        """Close the connection that streams; the server's process that had it."""
        self._streams = False
        if self._snapshot is not None:
            await self._snapshot.close()
            self._snapshot = None
        if (stream := self._stream.take()) is None:
            return None
        await stream.close()
        return stream.pid

    async def shutdown(self) -> None:
        """See `Consumer.shutdown`. What is not settled comes again, to the next reader."""
        heartbeat, self._heartbeat = self._heartbeat, None
        if heartbeat is not None:
            heartbeat.cancel()
            with suppress(asyncio.CancelledError):
                await heartbeat
        self._session.limit_timeout(slots.WITHIN)
        try:
            if self._streams and self._stream.is_open:
                with suppress(ConnectorError):
                    await self._make_durable()
        finally:
            earlier = await self._end_stream()
            if earlier is not None and self._session.is_good:
                with suppress(ConnectorError):
                    await slots.free(self._session, self._slot, earlier)
            self._stream.close()
            self._end()
            await self._session.close()

    async def _make_durable(self) -> None:
        deadline = monotonic() + slots.WITHIN
        if not self._unread:
            await self._read(0)
        while self._decoder.inside and not self._unread and monotonic() < deadline:
            # Every change of the transaction is here, its commit is on the way.
            await self._stream.get().wait(MOMENT)
            await self._read(0)
        await self._store()
        await slots.wait_for(self._session, self._slot, self._confirmed)
