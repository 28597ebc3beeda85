"""Makes every accepted form of connector look like the asynchronous, batch-wise contract."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from penstock.capabilities import Capabilities
from penstock.connectors import BlockingConsumer, BlockingProducer, Consumer, Producer, Transacted
from penstock.errors import ConfigError, ConnectorError, ProduceError
from penstock.message import BrowsedMessage, LazyMessages, QueueMessage, Record
from penstock.probes import Probed
from penstock.queues.foreign_codecs import ForeignModelHandler
from penstock.queues.joined_successes import JoinedSuccesses
from penstock.queues.one_at_a_time import KEYWORDS, OneAtATimeConsumer, OneAtATimeProducer, keywords_of
from penstock.queues.plain_bodies import plain_encoder
from penstock.queues.threads import DaemonThreadPool
from penstock.results import Backlog, Created

if TYPE_CHECKING:
    from penstock.queues.resolved_queue import ResolvedQueue

log = logging.getLogger("penstock")

T = TypeVar("T")


class ThreadedConsumer(Consumer):
    """Gives a `BlockingConsumer` its threads.

    Args:
        blocking: The consumer itself.
        lazily: Whether `consume` may return `LazyMessages`; else they are made on the consumer's thread.
    """

    SETTLE_WAIT = 5.0  # seconds that shutdown waits for a settlement whose caller has given it up

    def __init__(self, blocking: BlockingConsumer, *, lazily: bool = False) -> None:
        super().__init__(blocking.name, blocking.options)
        self.server = blocking.server
        self._blocking = blocking
        self._lazily = lazily
        self._consuming = DaemonThreadPool(f"penstock-consume-{blocking.name}")
        self._settling = DaemonThreadPool(f"penstock-settle-{blocking.name}")
        self._browsing = DaemonThreadPool(f"penstock-browse-{blocking.name}")
        self._joined = JoinedSuccesses(self._settling, blocking.on_success) if blocking.join_successes else None
        self.keep_polling = blocking.keep_polling  # type: ignore[misc]  # the wrapped class's own, not this one's

    async def connect(self) -> None:
        await self._consuming.submit(self._blocking.connect)
        self.lease = self._blocking.lease

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        return await self._consuming.submit(self._consume, max_messages, timeout)

    def _consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        messages = self._blocking.consume(max_messages, timeout)
        return messages.all() if isinstance(messages, LazyMessages) and not self._lazily else messages

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        if self._blocking.settles_at_once:
            return self._blocking.on_success(messages)
        if self._joined is not None:
            return await self._joined.submit(messages)
        return await self._settling.submit(self._blocking.on_success, messages)

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int | None:
        if self._blocking.settles_at_once:
            return self._blocking.on_fail(messages, delay)
        return await self._settle(self._blocking.on_fail, messages, delay)

    def _settle(self, function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        if self._joined is not None:
            self._joined.end_group()
        return self._settling.submit(function, *arguments)

    async def extend(self, messages: Sequence[QueueMessage]) -> None:
        # Behind the call that runs, and no other: settlements may wait here for longer than a lease.
        await self._settling.submit_first(self._blocking.extend, messages)

    async def begin_call(self, messages: Sequence[QueueMessage]) -> None:
        await self._settle(self._blocking.begin_call, messages)

    async def end_call(self, messages: Sequence[QueueMessage]) -> None:
        await self._settle(self._blocking.end_call, messages)

    async def lag(self) -> int | None:
        lag = await self._settling.submit(self._blocking.lag)
        self.retained = self._blocking.retained
        return lag

    async def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        # A thread of its own: it may read for seconds, and neither consuming nor settling may wait for it.
        return await self._browsing.submit(self._blocking.browse, limit, after)

    async def probe(self) -> Sequence[Probed]:
        return await self._browsing.submit(self._blocking.probe)

    async def claim(self, positions: Sequence[str]) -> Sequence[QueueMessage]:
        return await self._consuming.submit(self._blocking.claim, positions)

    async def follow(self, timeout: float) -> Sequence[BrowsedMessage] | None:
        return await self._browsing.submit(self._blocking.follow, timeout)

    async def backlog(self) -> Backlog:
        return await self._browsing.submit(self._blocking.backlog)

    async def seek(self, to: str | datetime) -> None:
        await self._browsing.submit(self._blocking.seek, to)

    def transaction_problem(self, producer: Producer) -> str | None:
        if not isinstance(producer, ThreadedProducer):
            return "it has another connector"
        return self._blocking.transaction_problem(producer.blocking)

    async def transact(
        self, messages: Sequence[QueueMessage], outputs: Sequence[tuple[Producer, Sequence[Record]]]
    ) -> Transacted:
        blocking = [
            (producer.blocking, records) for producer, records in outputs if isinstance(producer, ThreadedProducer)
        ]
        return await self._settle(self._blocking.transact, messages, blocking)

    async def shutdown(self) -> None:
        try:
            await self._let_settlements_end()
            await self._consuming.submit(self._blocking.shutdown)
        finally:
            self._consuming.close()
            self._settling.close()
            self._browsing.close()

    async def _let_settlements_end(self) -> None:
        # A caller that was cancelled left its call running, and a connector is promised that none is under way.
        try:
            await asyncio.wait_for(self._settling.submit(lambda: None), self.SETTLE_WAIT)
        except TimeoutError:
            log.warning("queue %r: a settlement has not ended in %g s; closing beside it", self.name, self.SETTLE_WAIT)


class ThreadedProducer(Producer):
    """Gives a `BlockingProducer` its thread.

    Attributes:
        blocking: The producer itself, for a transaction of its consumer.
    """

    def __init__(self, blocking: BlockingProducer) -> None:
        super().__init__(blocking.name, blocking.options)
        self.server = blocking.server
        self.blocking = blocking
        self._thread = DaemonThreadPool(f"penstock-produce-{blocking.name}")
        self.any_body = blocking.any_body

    async def connect(self) -> None:
        await self._thread.submit(self.blocking.connect)

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        if self._thread.closed:
            raise ConnectorError("the producer is shut down")
        return await self._thread.submit(self.blocking.produce, records)

    async def probe(self) -> Sequence[Probed]:
        return await self._thread.submit(self.blocking.probe)

    async def create(self) -> Created:
        return await self._thread.submit(self.blocking.create)

    async def shutdown(self) -> None:
        try:
            await self._thread.submit(self.blocking.shutdown)
        finally:
            self._thread.close()


def make_consumer(connector_class: type[Any], name: str, options: Any, *, lazily: bool = False) -> Consumer:
    """A consumer of any accepted form as a `Consumer`; `lazily` is as of `InputQueue`.

    Raises:
        ConfigError: the class has none of the accepted forms.
    """
    if issubclass(connector_class, (Consumer, BlockingConsumer)):
        consumer = _made(connector_class, name, options, "consumer", BlockingConsumer)
        return ThreadedConsumer(consumer, lazily=lazily) if isinstance(consumer, BlockingConsumer) else consumer
    has_delete_only = hasattr(connector_class, "delete") and not hasattr(connector_class, "on_success")
    settles = "delete" if has_delete_only else "on_success"
    _refuse_misfit(connector_class, "consumer", ("consume", settles, "on_fail", "shutdown"))
    return OneAtATimeConsumer(connector_class, name, options)


def make_producer(connector_class: type[Any], name: str, options: Any) -> Producer:
    """A producer of any accepted form as a `Producer`.

    Raises:
        ConfigError: the class has none of the accepted forms.
    """
    if issubclass(connector_class, (Producer, BlockingProducer)):
        producer = _made(connector_class, name, options, "producer", BlockingProducer)
        return ThreadedProducer(producer) if isinstance(producer, BlockingProducer) else producer
    _refuse_misfit(connector_class, "producer", ("produce", "shutdown"))
    return OneAtATimeProducer(connector_class, name, options)


def plain_encoder_for(producer: Producer | type[Any], resolved: ResolvedQueue) -> Callable[[Any], bytes | None] | None:
    """What encodes for a producer that gets plain data instead of bytes; None for all others.

    It does if it is written one message at a time, the queue has no serializer, and the producer's class or the model
    handler is one of py-volley's kind.
    """
    plain_data: bool | None = getattr(producer, "plain_data", None)
    if resolved.serializer is not None or plain_data is None:
        return None
    if not plain_data and not isinstance(resolved.model_handler, ForeignModelHandler):
        return None
    return plain_encoder(resolved.model_handler, resolved.data_model)


def takes_plain_data(connector_class: type[Any]) -> bool | None:
    """Whether a producer's class, written one message at a time, says that it gets plain data; None for all others."""
    if issubclass(connector_class, (Producer, BlockingProducer)) or not hasattr(connector_class, "produce"):
        return None
    return bool(getattr(connector_class, "plain_data", False))


def undeclared_capabilities(connector_class: type[Any]) -> Capabilities:
    """What a class of the user's own can do that declares nothing.

    A producer written one message at a time gets key, headers and delay as keywords, so it has what its `produce`
    takes. Of any other class nothing is known.
    """
    if issubclass(connector_class, (Consumer, Producer, BlockingConsumer, BlockingProducer)):
        return Capabilities()
    if not callable(getattr(connector_class, "produce", None)):
        return Capabilities()
    taken = keywords_of(connector_class)
    keys, headers, delay = (taken is None or word in taken for word in KEYWORDS)
    return Capabilities(keys=keys, headers=headers, delay=delay, tombstones=True)


def _made(connector_class: type[Any], name: str, options: Any, side: str, blocking: type[Any]) -> Any:
    if missing := sorted(getattr(connector_class, "__abstractmethods__", ())):
        raise ConfigError(
            f"{_full_name(connector_class)} is not a complete {side}: it lacks {', '.join(missing)}; add what "
            f"is missing, or, if it moves one message at a time, derive it from no class of Penstock"
        )
    if issubclass(connector_class, blocking):
        _refuse_coroutines(connector_class, blocking)
    return connector_class(name, options)


def _refuse_coroutines(connector_class: type[Any], blocking: type[Any]) -> None:
    for method in filter(lambda name: inspect.isfunction(vars(blocking)[name]), vars(blocking)):
        if inspect.iscoroutinefunction(getattr(connector_class, method)):
            form = blocking.__name__.removeprefix("Blocking")
            raise ConfigError(
                f"{_full_name(connector_class)}: its {method} is async, which penstock.{blocking.__name__} has not; "
                f"derive it from penstock.{form}, and write all its methods so"
            )


def _refuse_misfit(connector_class: type[Any], side: str, methods: Sequence[str]) -> None:
    name = _full_name(connector_class)
    derive = f"derive it from penstock.{side.capitalize()} or penstock.Blocking{side.capitalize()}"
    missing = [method for method in methods if not callable(getattr(connector_class, method, None))]
    if missing:
        raise ConfigError(f"{name} is not a {side}: {derive}, or give it {', '.join(methods)}; it lacks {missing[0]}")
    coroutines = [method for method in methods if inspect.iscoroutinefunction(getattr(connector_class, method))]
    if coroutines:
        raise ConfigError(
            f"{name} is not a {side}: its {coroutines[0]} is async, which needs a batch-wise class; {derive}"
        )
    try:
        inspect.signature(connector_class).bind(queue_name="", host=None, config={})
    except TypeError as error:
        called = f"{connector_class.__qualname__}(queue_name=…, host=…, config=…)"
        raise ConfigError(
            f"{name} is not a {side}: it is made as {called}, and its constructor says: {error}"
        ) from error
    except ValueError:
        # Written in C, without a signature: a wrong argument shows when it is made.
        return


def _full_name(connector_class: type[Any]) -> str:
    return f"{connector_class.__module__}.{connector_class.__qualname__}"
