"""A queue that is open: connector + codec, with reconnecting. Usable without an engine.

async with InputQueue(resolved) as queue:
    for message in await queue.consume(100, timeout=1.0):
        order = queue.decode(message.message)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from penstock import envelope
from penstock.adapters import make_consumer, make_producer
from penstock.backoff import Backoff
from penstock.codec import Codec
from penstock.connectors import Transacted
from penstock.errors import ConnectorError, FatalConnectorError, FunctionError, NotConnected, ProduceError
from penstock.health import Health
from penstock.message import QueueMessage, Record

if TYPE_CHECKING:
    from penstock.config.resolve import ResolvedQueue
    from penstock.connectors import Consumer, Producer

log = logging.getLogger("penstock")

T = TypeVar("T")

RECONNECT = Backoff(initial=0.25, maximum=15.0)
PRODUCE_AGAIN = Backoff(initial=0.1, maximum=10.0)


class _Queue:
    """What both directions share: opening, staying connected, saying so."""

    def __init__(self, resolved: ResolvedQueue, health: Health | None, on_reconnect: Callable[[], None] | None) -> None:
        self.resolved = resolved
        self.name = resolved.name
        self.codec = Codec(resolved.serializer, resolved.model_handler, resolved.data_model)
        self._health = health or Health()
        self._component = f"queue {resolved.name}"
        self._on_reconnect = on_reconnect
        self._connecting = asyncio.Lock()
        self._connections = 0
        self._connector: Consumer | Producer
        self._health.set(self._component, "starting")

    def __str__(self) -> str:
        place = f" ({self.resolved.place})" if self.resolved.place else ""
        return f"queue {self.name!r}{place}, {self.resolved.connector}"

    async def open(self, patience: float | None = None) -> None:
        """Connect.

        Args:
            patience: Seconds for which a backend that is away is waited for; None waits until cancelled.

        Raises:
            NotConnected: the backend stayed away for `patience` seconds.
            ConnectorError: it answered, and will not have us.
        """
        deadline = None if patience is None else asyncio.get_running_loop().time() + patience
        await self._connect(self._connections, deadline)

    async def _connect(self, seen: int, deadline: float | None = None) -> None:
        """Connect, unless somebody else has since this caller saw connection number `seen`."""
        async with self._connecting:
            failures = 0
            while self._connections == seen:
                try:
                    await self._connector.connect()
                except NotConnected as error:
                    failures += 1
                    wait = RECONNECT.delay(failures) if error.retry_after is None else error.retry_after
                    self._health.set(self._component, "degraded", str(error))
                    if deadline is not None and asyncio.get_running_loop().time() + wait > deadline:
                        raise NotConnected(f"{self}: {error}") from error
                    log.warning("%s: %s; trying again in %.1f s", self, error, wait)
                    await asyncio.sleep(wait)
                except ConnectorError as error:
                    raise self._placed(error) from error
                else:
                    self._connections += 1
            self._health.set(self._component, "ok")

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call to the connector; when the backend is away, connect again and repeat it until it is through."""
        failures = 0
        while True:
            seen = self._connections
            try:
                return await call()
            except NotConnected as error:
                failures += 1
                self._health.set(self._component, "degraded", str(error))
                log.warning("%s: %s; connecting again", self, error)
                if self._on_reconnect is not None:
                    self._on_reconnect()
                if failures > 1:
                    # connect() succeeded, the call did not: a connection that breaks at once must not make a hot loop.
                    await asyncio.sleep(RECONNECT.delay(failures))
                await self._connect(seen)
            except ConnectorError as error:
                raise self._placed(error) from error

    def _placed(self, error: ConnectorError) -> ConnectorError:
        if isinstance(error, ProduceError):
            return ProduceError(f"{self}: {error}", error.retriable)
        kind = FatalConnectorError if isinstance(error, FatalConnectorError) else ConnectorError
        return kind(f"{self}: {error}")

    @property
    def connected(self) -> bool:
        """Whether the last that was heard from the backend was good."""
        status = self._health.get(self._component)
        return status is not None and status.state == "ok"

    async def close(self) -> None:
        """Shut the connector down. Never raises for a backend that is away: what was not settled is redelivered."""
        self._health.set(self._component, "stopping")
        try:
            await self._connector.shutdown()
        except ConnectorError as error:
            log.warning("%s: did not close cleanly: %s", self, error)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class InputQueue(_Queue):
    """A queue that messages come from.

    Args:
        resolved: What the configuration says of it, resolved for the role "input".
        health: The board on which its state is shown.
        on_reconnect: Called each time the connection was lost.

    Attributes:
        decode: Body → object, as the queue's serializer and model handler say. `codec.explain` says why one was refused.
        enveloped: Messages may come in envelopes: call `open_envelope` for each before its body is decoded.
    """

    def __init__(
        self, resolved: ResolvedQueue, *, health: Health | None = None, on_reconnect: Callable[[], None] | None = None
    ) -> None:
        super().__init__(resolved, health, on_reconnect)
        self._connector = self._consumer = make_consumer(resolved.connector_class, resolved.value, resolved.options)
        self.enveloped = envelope.uses_envelope(resolved.capabilities)
        self.decode = self.codec.decode

    @property
    def lease(self) -> float | None:
        """Seconds for which a delivery is ours without `extend`; None: for as long as we live."""
        return self._consumer.lease

    @property
    def keep_polling(self) -> bool:
        """Whether `consume(0, …)` must be called while there is no room."""
        return self._consumer.keep_polling

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """Wait for messages; see `Consumer.consume`. Reconnects by itself."""
        return await self._insist(lambda: self._consumer.consume(max_messages, timeout))

    @staticmethod
    def open_envelope(message: QueueMessage) -> None:
        """Take body, key and headers out of the envelope they came in; a plain body is left as it is.

        Raises:
            DecodeError: it is an envelope, and damaged.
        """
        if message.message is not None and (opened := envelope.unwrap(message.message)) is not None:
            message.message, message.key, message.headers = opened

    async def on_success(self, messages: Sequence[QueueMessage]) -> int:
        """Settle for good; returns how many were no longer ours."""
        return await self._insist(lambda: self._consumer.on_success(messages)) or 0

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:
        """Give back; the delay is left out where the connector cannot honour one."""
        held = delay if delay and self.resolved.capabilities.delay else None
        await self._insist(lambda: self._consumer.on_fail(messages, held))

    async def extend(self, messages: Sequence[QueueMessage]) -> None:
        """Keep the leases alive. One try: the next one comes soon."""
        await self._consumer.extend(messages)

    def transaction_problem(self, output: OutputQueue) -> str | None:
        """Why `transact` cannot store records of this output; None if it can."""
        return self._consumer.transaction_problem(output._producer)

    async def transact(
        self, messages: Sequence[QueueMessage], outputs: Sequence[tuple[OutputQueue, Sequence[Record]]]
    ) -> Transacted:
        """Store and settle together, or not at all; see `Consumer.transact`. Reconnects by itself."""
        stored = [(output._producer, output._packed(records)) for output, records in outputs]
        return await self._insist(lambda: self._consumer.transact(messages, stored))

    async def lag(self) -> int | None:
        """How many messages wait; None if unknown, also while the backend is away."""
        try:
            return await self._consumer.lag()
        except NotConnected:
            return None


class OutputQueue(_Queue):
    """A queue that messages go to.

    Args:
        resolved: What the configuration says of it, resolved for the role "output".
        health: The board on which its state is shown.
        on_reconnect: Called each time the connection was lost.
        on_refused: Called with the number of records that were not confirmed and will be sent again.

    Attributes:
        encode: Object → body, validated by the queue's model handler.
        carries_keys: Whether the backend has keys.
    """

    def __init__(
        self,
        resolved: ResolvedQueue,
        *,
        health: Health | None = None,
        on_reconnect: Callable[[], None] | None = None,
        on_refused: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__(resolved, health, on_reconnect)
        self._connector = self._producer = make_producer(resolved.connector_class, resolved.value, resolved.options)
        self._on_refused = on_refused
        self.carries_keys = resolved.capabilities.keys
        self._enveloped = envelope.uses_envelope(resolved.capabilities)
        self.encode = self.codec.encode

    def check(self, record: Record) -> None:
        """Refuse a record that asks for what the connector cannot do.

        Raises:
            FunctionError: it has a delay, and the connector cannot delay.
        """
        if record.delay and not self.resolved.capabilities.delay:
            raise FunctionError(
                f"an output for {self} has delay={record.delay}, but connector {self.resolved.connector!r} has no "
                f"'delay'; leave it out, or use a connector that has it"
            )

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """Send records until each is confirmed, or refused for good.

        A record that the backend refuses for now is sent again with backoff, for as long as this call is not cancelled.

        Returns:
            Empty if all are confirmed; else one entry a record: None, or why the backend will never take it.
        """
        if self._enveloped:
            records = [self._in_envelope(record) for record in records]
        errors = await self._insist(lambda: self._producer.produce(records))
        if len(errors) != len(records):
            raise ConnectorError(
                f"{self}: the producer answered {len(errors)} results for {len(records)} records; this is a bug of "
                f"{type(self._producer).__module__}"
            )
        if not any(errors):
            return ()
        return await self._produce_again(records, list(errors))

    async def _produce_again(
        self, records: Sequence[Record], errors: list[ProduceError | None]
    ) -> Sequence[ProduceError | None]:
        failures = 0
        while pending := [i for i, error in enumerate(errors) if error is not None and error.retriable]:
            failures += 1
            wait = PRODUCE_AGAIN.delay(failures)
            reason = str(errors[pending[0]])
            self._health.set(self._component, "degraded", reason)
            log.warning("%s: %d of %d records not confirmed: %s; sending them again in %.1f s",
                        self, len(pending), len(records), reason, wait)  # fmt: skip
            if self._on_refused is not None:
                self._on_refused(len(pending))
            await asyncio.sleep(wait)
            again = [records[i] for i in pending]
            results = await self._insist(lambda again=again: self._producer.produce(again))  # type: ignore[misc]
            for i, error in zip(pending, results, strict=True):
                errors[i] = error
        self._health.set(self._component, "ok")
        return errors if any(errors) else ()

    def _packed(self, records: Sequence[Record]) -> Sequence[Record]:
        return [self._in_envelope(record) for record in records] if self._enveloped else records

    def _in_envelope(self, record: Record) -> Record:
        if not envelope.needs_envelope(record, self.resolved.capabilities):
            return record
        key = record.key if self.carries_keys else None
        return Record(envelope.wrap(record), key, (), record.delay, record.options)
