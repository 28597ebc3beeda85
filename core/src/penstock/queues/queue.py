"""A queue that is open: connector + codec, with reconnecting. Usable without an engine.

async with InputQueue(resolved) as queue:
    for message in await queue.consume(100, timeout=1.0):
        order = queue.decode(message.message)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from penstock import envelope
from penstock.backoff import Backoff
from penstock.errors import ConnectorError, GivenUp, NotConnected, ProduceError
from penstock.message import LazyMessages, QueueMessage, Record
from penstock.observability.health import Health
from penstock.observability.outages import FIRST_REMINDER, Trouble, duration
from penstock.queues.adapters import make_consumer, make_producer, plain_encoder_for
from penstock.queues.answers import consume_problem, count_problem, lag_problem, transact_problem
from penstock.queues.codec import Codec
from penstock.queues.connection import Connection, given_up_after
from penstock.queues.packing import Packing
from penstock.queues.record_rules import RecordRules, add_headers
from penstock.results import Created
from penstock.transacted import Refusal, Transacted

if TYPE_CHECKING:
    from penstock.connectors import Consumer, Producer
    from penstock.queues.resolved_queue import ResolvedQueue

T = TypeVar("T")

PRODUCE_AGAIN = Backoff(initial=0.1, maximum=10.0)
END_CALLS_WITHIN = 2.0  # seconds, at the end of a worker whose calls did not end in time


class _Queue:
    """What both directions share: opening, closing, showing the state."""

    def __init__(
        self,
        resolved: ResolvedQueue,
        connector: Consumer | Producer,
        health: Health | None,
        on_reconnect: Callable[[], None] | None,
        engine: str,
    ) -> None:
        self.resolved = resolved
        self.name = resolved.name
        self.codec = Codec(resolved.serializer, resolved.model_handler, resolved.data_model)
        # With engine and role: a queue may be one engine's output and another one's input, in one worker.
        component = (f"engine {engine}: " if engine else "") + f"{resolved.role} {resolved.name}"
        fields = {"queue": resolved.name, "connector": resolved.connector} | ({"engine": engine} if engine else {})
        self.server: str = getattr(connector, "server", "")
        file = resolved.location.partition(":")[0]
        self._connection = Connection(
            connector, str(self), resolved.connector_class, health or Health(), component, on_reconnect, fields, file,
            resolved.retry,
        )  # fmt: skip

    def __str__(self) -> str:
        place = f" ({self.resolved.location})" if self.resolved.location else ""
        return f"queue {self.name!r}{place}, {self.resolved.connector}"

    async def open(self, connect_timeout: float | None = None) -> None:
        """Connect; see `Connection.open`."""
        await self._connection.open(connect_timeout)

    @property
    def connected(self) -> bool:
        """Whether the last call to the backend went well."""
        return self._connection.connected

    async def close(self) -> bool:
        """Shut the connector down; see `Connection.close`. Never raises: what was not settled is redelivered."""
        return await self._connection.close()

    def remove_from_health(self) -> None:
        """Remove a closed queue from the health registry: it ended because its work is done."""
        self._connection.remove_from_health()

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
        health: The registry in which its state is shown.
        on_reconnect: Called each time the connection was lost.
        engine: The name of the engine that has the queue, for the registry.
        lazily: Whether `consume` may return `LazyMessages`, for a reader of whole lists.

    Attributes:
        decode: Body → object, by serializer and model handler; `codec.explain` says why one was refused.
        consumer: The connector, which never changes.
        enveloped: Messages may come in envelopes.
        packing: What takes key and headers out of bodies, before those are decoded.
    """

    def __init__(
        self,
        resolved: ResolvedQueue,
        *,
        health: Health | None = None,
        on_reconnect: Callable[[], None] | None = None,
        engine: str = "",
        lazily: bool = False,
    ) -> None:
        self.consumer = self._consumer = make_consumer(
            resolved.connector_class, resolved.value, resolved.options, lazily=lazily
        )
        self._lazily = lazily
        super().__init__(resolved, self._consumer, health, on_reconnect, engine)
        self._stopped = asyncio.Event()
        self._begun: set[QueueMessage] = set()  # calls recorded in the backend, and not yet ended there
        self._settling: dict[object, float] = {}  # when each call began; the oldest first
        self.packing = Packing(resolved)
        self.enveloped = self.packing.opens_envelopes
        self.decode = self.codec.decode

    @property
    def lease(self) -> float | None:
        """Seconds for which a delivery is hidden without `extend`; None: for as long as this consumer lives."""
        return self._consumer.lease

    @property
    def keep_polling(self) -> bool:
        """Whether `consume(0, …)` must be called while there is no room."""
        return self._consumer.keep_polling

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """Wait for messages; see `Consumer.consume`. Reconnects by itself, until `stop`."""

        async def consume() -> tuple[Sequence[QueueMessage]]:
            # In a tuple, because None means that the call was given up.
            return (await self._consumer.consume(max_messages, timeout),)

        answer = await self._connection.call("consume", consume, self._stopped)
        if answer is None:
            return ()
        self._connection.refuse(consume_problem(answer[0], max_messages))
        messages = answer[0]
        return messages.all() if isinstance(messages, LazyMessages) and not self._lazily else messages

    async def claim(self, positions: Sequence[str]) -> Sequence[QueueMessage]:
        """Take the messages at these positions, where the backend can; see `Consumer.claim`. Reconnects by itself."""
        answer = await self._connection.call("claim", lambda: self._consumer.claim(positions))
        self._connection.refuse(consume_problem(answer, len(positions), "claim"))
        return answer or ()

    def stop(self) -> None:
        """Let a `consume` that waits for a backend that is away return, empty; settlements still wait for it."""
        self._stopped.set()

    async def on_success(self, messages: Sequence[QueueMessage]) -> int:
        """Settle for good; returns how many were lost to another consumer before."""
        late = await self._settle("on_success", lambda: self._consumer.on_success(messages))
        self._connection.refuse(count_problem("on_success", late, len(messages)))
        if self._begun:
            self._begun.difference_update(messages)
        return late or 0

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int:
        """Requeue; returns how many were lost before. The delay is left out where it cannot be kept."""
        if self._begun:
            await self.end_call(messages)
        held = delay if delay and self.resolved.capabilities.requeue_delay else None
        late = await self._settle("on_fail", lambda: self._consumer.on_fail(messages, held))
        self._connection.refuse(count_problem("on_fail", late, len(messages)))
        return late or 0

    async def _settle(self, method: str, call: Callable[[], Awaitable[T]]) -> T | None:
        me = object()
        self._settling[me] = monotonic()
        try:
            return await self._connection.call(method, call)
        finally:
            del self._settling[me]

    @property
    def settling_since(self) -> float | None:
        """When the oldest settlement that is under way began, by `monotonic`; None if there is none."""
        return next(iter(self._settling.values()), None)

    async def extend(self, messages: Sequence[QueueMessage]) -> None:
        """Keep the leases alive. One attempt, because what became due meanwhile comes first.

        Raises:
            NotConnected: it did not succeed; the queue is connected again by now.
        """
        await self._connection.once("extend", lambda: self._consumer.extend(messages), connect_again=True)

    async def begin_call(self, messages: Sequence[QueueMessage]) -> None:
        """Record that calls with these are about to begin, so that the next delivery knows if the worker dies."""
        self._begun.update(messages)  # first: the backend may record it although no answer comes
        await self._connection.call("begin_call", lambda: self._consumer.begin_call(messages), self._stopped)

    async def end_call(self, messages: Sequence[QueueMessage]) -> None:
        """Remove what `begin_call` recorded of those that are neither settled nor ended yet."""
        begun = [message for message in messages if message in self._begun]
        if begun:
            await self._connection.call("end_call", lambda: self._consumer.end_call(begun))
            self._begun.difference_update(begun)

    async def close(self) -> bool:
        """See `_Queue.close`. Calls that did not end in time are ended first: no message is to blame for a stop."""
        if self._begun:
            try:
                async with asyncio.timeout(END_CALLS_WITHIN):
                    await self._connection.once("end_call", lambda: self._consumer.end_call(list(self._begun)))
            except (ConnectorError, TimeoutError) as error:
                self._connection.log.warning("%s: %d calls that were left count as if the worker had died of them: %s",
                            self, len(self._begun), error)  # fmt: skip
        return await super().close()

    def transaction_problem(self, output: OutputQueue) -> str | None:
        """Why `transact` cannot store records of this output; None if it can."""
        return self._consumer.transaction_problem(output._producer)

    async def transact(
        self, messages: Sequence[QueueMessage], outputs: Sequence[tuple[OutputQueue, Sequence[Record]]]
    ) -> Transacted:
        """Store and settle together, or not at all; see `Consumer.transact`. Reconnects by itself."""
        stored = [(output._producer, output._packed(records)) for output, records in outputs]
        if refused := _rejected_outputs(outputs, stored):
            return Transacted(refused=refused)
        done = await self._settle("transact", lambda: self._consumer.transact(messages, stored))
        self._connection.refuse(transact_problem(done, messages, [records for _, records in stored]))
        assert done is not None  # noqa: S101  (for type checkers)
        if self._begun and done.committed:
            self._begun.difference_update(messages)
        return done

    async def seek(self, to: str | datetime) -> None:
        """Let the group go on at another place; see `Consumer.seek`. The queue need not be open."""
        await self._connection.once("seek", lambda: self._consumer.seek(to))

    async def lag(self) -> int | None:
        """How many messages wait; None if unknown, also while the backend is away."""
        try:
            answer = await self._connection.once("lag", self._consumer.lag)
        except NotConnected:
            return None
        self._connection.refuse(lag_problem(answer))
        return answer


class OutputQueue(_Queue):
    """A queue that messages go to.

    Args:
        resolved: What the configuration says of it, resolved for the role "output".
        health: The registry in which its state is shown.
        on_reconnect: Called each time the connection was lost.
        on_refused: Called with the number of records that were not confirmed and will be sent again.
        engine: The name of the engine that has the queue, for the registry.

    Attributes:
        encode: Object → body, validated by the queue's model handler.
        check: Checks a record's delay and options; see `RecordRules.check`.
        carries_keys: Whether the backend has keys.
        key_of: Reads the key of an object; None where the configuration names none.
        any_body: Whether it takes any body, as a dead-letter queue must.
    """

    def __init__(
        self,
        resolved: ResolvedQueue,
        *,
        health: Health | None = None,
        on_reconnect: Callable[[], None] | None = None,
        on_refused: Callable[[int], None] | None = None,
        engine: str = "",
    ) -> None:
        self._producer = make_producer(resolved.connector_class, resolved.value, resolved.options)
        super().__init__(resolved, self._producer, health, on_reconnect, engine)
        self._on_refused = on_refused
        self.carries_keys = resolved.capabilities.keys
        self.key_of = resolved.key_of
        self._rules = RecordRules(str(self), resolved, self._producer)
        self.check = self._rules.check
        self.any_body = self._producer.any_body
        self._packed = Packing(resolved).pack
        self.encode = plain_encoder_for(self._producer, resolved) or self.codec.encode

    async def create(self) -> Created:
        """Make the queue unless it is there; see `Producer.create`. The queue need not be open."""
        return await self._connection.once("create", self._producer.create)

    def pass_on(
        self,
        record: Record,
        asked_for: Sequence[tuple[str, bytes | None]],
        always: Sequence[tuple[str, bytes | None]],
    ) -> None:
        """Add headers of the input to a record; its own header of a name wins.

        Where the backend has no headers, `asked_for` is worth an envelope, and `always` travels in one that is made
        anyway. What is stored as a row of a table has no place for either.
        """
        if not self.any_body:
            return
        capabilities = self.resolved.capabilities
        add_headers(record, asked_for)
        if capabilities.headers or envelope.needs_envelope(record, capabilities):
            add_headers(record, always)

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        """Send records until each is confirmed, or refused for good.

        A record that the backend refuses for now is sent again with backoff, for as long as this call is not cancelled
        and the queue's `retry` allows.

        Returns:
            Empty if all are confirmed; else one entry a record: None, or why the backend will never take it, or
            `GivenUp`.
        """
        records = self._packed(records)
        errors = await self._produce(records)
        if not any(errors):
            if self.resolved.retry is not None and not self.connected:
                self._connection.set_state("ok")  # records before these were given up
            return ()
        return await self._produce_again(records, list(errors))

    async def _produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        if rejected := self._rules.rejected(records):
            taken = [record for position, record in enumerate(records) if position not in rejected]
            answers = iter(await self._produce(taken) if taken else ())
            return [rejected.get(position) or next(answers) for position in range(len(records))]
        try:
            errors = await self._connection.confirmed(lambda: self._producer.produce(records))
        except NotConnected as error:
            return [GivenUp(str(error).removeprefix(f"{self}: "))] * len(records)
        if not isinstance(errors, Sequence):
            raise self._connection.bug(f"the producer answered a {type(errors).__name__} instead of a result a record")
        if len(errors) != len(records):
            raise self._connection.bug(f"the producer answered {len(errors)} results for {len(records)} records")
        return errors

    async def _produce_again(
        self, records: Sequence[Record], errors: list[ProduceError | None]
    ) -> Sequence[ProduceError | None]:
        failures, trouble, retry = 0, Trouble(), self.resolved.retry
        while pending := [i for i, error in enumerate(errors) if self._may_be_sent_again(error)]:
            failures += 1
            if retry is not None and failures == retry.max_attempts:
                for i in pending:
                    errors[i] = GivenUp(f"{errors[i]}; {given_up_after(failures)}")
                return errors
            wait = (PRODUCE_AGAIN if retry is None else retry.backoff).delay(failures)
            reason = str(errors[pending[0]])
            self._connection.set_state("degraded", reason)
            if trouble.is_due(monotonic()):
                self._connection.log.warning("%s: %d of %d records not confirmed: %s; sending them again in %.1f s",
                            self, len(pending), len(records), reason, wait)  # fmt: skip
            if self._on_refused is not None:
                self._on_refused(len(pending))
            await asyncio.sleep(wait)
            again = await self._produce([records[i] for i in pending])
            for i, error in zip(pending, again, strict=True):
                errors[i] = error
        if not any(isinstance(error, GivenUp) for error in errors):
            self._connection.set_state("ok")
        if (seconds := trouble.over(monotonic())) is not None and seconds > FIRST_REMINDER:
            self._connection.log.warning("%s: records are confirmed again after %s", self, duration(seconds))
        return errors if any(errors) else ()

    def _may_be_sent_again(self, error: object) -> bool:
        if error is None:
            return False
        if not isinstance(error, ProduceError):
            raise self._connection.bug(
                f"the producer answered a {type(error).__name__} for a record, which is neither None nor a ProduceError"
            )
        return error.retriable and not isinstance(error, GivenUp)


def _rejected_outputs(
    outputs: Sequence[tuple[OutputQueue, Sequence[Record]]], stored: Sequence[tuple[Producer, Sequence[Record]]]
) -> list[Refusal]:
    return [
        Refusal(number, position, error)
        for number, ((output, _), (_, records)) in enumerate(zip(outputs, stored, strict=True))
        for position, error in output._rules.rejected(records).items()
    ]
