"""`queue_consumer`, `connector_register` and `start`: handlers become engines, and the worker runs them."""

from __future__ import annotations

import inspect
import logging
import multiprocessing
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from penstock import Engine, Worker, WorkerSettings
from penstock_compat.romeways.configs import GenericConnectorConfig, GenericQueueConfig, Message, ResendException
from penstock_compat.romeways.connectors import AQueueConnector
from penstock_compat.romeways.processes import Processes

log = logging.getLogger("penstock.compat.romeways")

Handler = Callable[[Message], Coroutine[Any, Any, Any]]


@dataclass(slots=True, frozen=True)
class _Connector:
    kind: type[AQueueConnector]
    config: GenericConnectorConfig
    spawn_process: bool


_handlers: list[tuple[str, GenericQueueConfig, Handler]] = []
_connectors: dict[str, _Connector] = {}


def queue_consumer(queue_name: str, config: GenericQueueConfig) -> Callable[[Handler], Handler]:
    """Register an `async` function that is called with each message of a queue."""
    if not isinstance(config, GenericQueueConfig):
        raise TypeError(f"queue {queue_name!r}: config is {type(config).__name__}, not a GenericQueueConfig")

    def register(handler: Handler) -> Handler:
        if not inspect.iscoroutinefunction(handler):
            raise TypeError(f"queue {queue_name!r}: the handler must be an async function")
        _handlers.append((queue_name, config, handler))
        return handler

    return register


def connector_register(
    connector: type[AQueueConnector],
    config: GenericConnectorConfig,
    spawn_process: bool = False,
) -> None:
    """Register the connector that queues name by `connector_name`; the first one of a name counts.

    Args:
        connector: A class derived from `AQueueConnector`.
        config: With its name.
        spawn_process: Its handlers run in processes of their own, which are replaced when they die.
    """
    if not (isinstance(connector, type) and issubclass(connector, AQueueConnector)):
        raise TypeError(f"connector is {connector!r}, not a class derived from AQueueConnector")
    if not isinstance(config, GenericConnectorConfig):
        raise TypeError(f"config is {type(config).__name__}, not a GenericConnectorConfig")
    _connectors.setdefault(config.connector_name, _Connector(connector, config, spawn_process))


async def start(processes: int = 1, settings: WorkerSettings | None = None, **engine: Any) -> None:
    """Run all handlers until a signal, or until one cannot go on.

    Args:
        processes: How many processes each connector with `spawn_process` has.
        settings: Of the worker; by default without a port for metrics.
        engine: Settings of the engines: `retry`, `on_failed`, `dead_letter_queue`.

    Raises:
        PenstockError: why a handler could not go on.
        LookupError: a handler's connector is not registered.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        return  # a child imports the program again, to find its handlers
    for queue_name, config, _ in _handlers:
        if config.connector_name not in _connectors:
            raise LookupError(f"queue {queue_name!r}: there is not a connector {config.connector_name!r}; register it")
    with ExitStack() as stack:
        pools = {
            name: stack.enter_context(Processes(processes))
            for name, connector in _connectors.items()
            if connector.spawn_process
        }
        engines = [_engine(*each, pools.get(each[1].connector_name), engine) for each in _handlers]
        await Worker(engines, settings or WorkerSettings(metrics_port=None)).serve()


def _engine(
    queue_name: str, config: GenericQueueConfig, handler: Handler, pool: Processes | None, settings: dict[str, Any]
) -> Engine:
    connector = _connectors[config.connector_name]
    if not connector.kind.durable:
        log.warning("queue %r: what a process holds is lost if it is killed; use a queue with a server, or sqlite",
                    queue_name)  # fmt: skip
    queue = {"serializer": None, "model_handler": None, **connector.kind.queue(queue_name, connector.config, config)}
    chunk = max(1, abs(config.max_chunk_size))
    given: dict[str, Any] = {"frequency": config.frequency or None, "batch_size": chunk}
    given |= {"concurrency": 1 if config.sequential else chunk, **settings}
    app = Engine(queue_name, [queue_name], handler.__name__, config={"queues": {queue_name: queue}}, **given)
    call = handled if pool is None else pool.call

    async def function(body: bytes) -> list[tuple[str, bytes]] | None:
        again = await call(handler, body)
        return None if again is None else [(queue_name, again)]

    app.stream_app(function)
    return app


async def handled(handler: Handler, body: bytes) -> bytes | None:
    """Call a handler with a message; returns the body to send again, if it wants that."""
    message = Message.from_message(body)
    try:
        await handler(message)
    except ResendException as error:
        log.warning("%s: the message is sent again, for the %dth time: %s",
                    handler.__name__, message.rw_resend_times + 1, error)  # fmt: skip
        return message.raise_resend_counter().to_json()
    return None
