"""Keeps one connector connected: connects, reconnects with backoff, adds the queue to its errors, shows its state."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from penstock.backoff import Backoff
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected, ProduceError
from penstock.observability.health import Health
from penstock.observability.log_fields import logged_with
from penstock.observability.outages import Place
from penstock.queues.cancellation import raise_if_ours

if TYPE_CHECKING:
    from penstock.connectors import Consumer, Producer
    from penstock.retry import QueueRetry

log = logging.getLogger("penstock")

T = TypeVar("T")

RECONNECT = Backoff(initial=0.25, maximum=15.0)
SHORTEST_WAIT = 0.1  # seconds between two attempts, also for a connector that asks for none: never a hot loop
SILENT = 10.0  # seconds without a confirmation after which that is logged
CLOSE_TIMEOUT = 20.0  # seconds for a shutdown, which a connector should end within 10


class Connection:
    """One connector, for as long as its queue is open.

    Args:
        connector: What connects.
        label: What errors and logs call the queue.
        author: The connector's class, named in the error when it has a bug.
        health: The health registry.
        component: The connector's name in it.
        on_lost: Called each time the connection was lost.
        log_fields: What its log records carry beside their text: the queue, and its engine and connector.
        file: The file of its configuration, if there is one.
        retry: How long it is tried again; None for ever.
    """

    def __init__(
        self,
        connector: Consumer | Producer,
        label: str,
        author: type,
        health: Health,
        component: str,
        on_lost: Callable[[], None] | None,
        log_fields: Mapping[str, str] | None = None,
        file: str = "",
        retry: QueueRetry | None = None,
    ) -> None:
        self.log = logging.LoggerAdapter(log, log_fields)
        self._connector = connector
        self._label = label
        self._author = f"{author.__module__}.{author.__qualname__}"
        self._health = health
        self._component = component
        self._on_lost = on_lost
        self._fields = log_fields or {}
        self._place = Place(getattr(connector, "server", ""), label, component, self._fields, file)
        health.outages.add(self._place)
        self._connecting = asyncio.Lock()
        self._connected_at = 0.0
        self._number = 0  # how many times it was connected
        self._lost = -1  # the connection whose loss was reported already: several calls notice it
        self._retry = retry
        self._given_up: NotConnected | None = None
        self.set_state("starting")

    def set_state(self, state: Any, reason: str = "") -> None:
        """Show the state in the health registry."""
        self._health.set_state(self._component, state, reason)

    @property
    def connected(self) -> bool:
        """Whether the last call to the backend went well."""
        status = self._health.get(self._component)
        return status is not None and status.state == "ok"

    async def open(self, connect_timeout: float | None) -> None:
        """Connect.

        Args:
            connect_timeout: Seconds to wait for a backend that is away; None waits until cancelled.

        Raises:
            NotConnected: the backend stayed away for that long.
            ConnectorError: the backend refused the connection for good, or the connector has a bug.
        """
        await self._connect(self._number, connect_timeout)

    async def call(self, method: str, call: Callable[[], Awaitable[T]], stop: asyncio.Event | None = None) -> T | None:
        """Make a call to the connector; while the backend is away, connect again and repeat it until it is through.

        Args:
            method: Its name, for errors.
            call: The call.
            stop: Once it is set, a backend that is away is waited for no longer.

        Returns:
            What the call returned; None if it was given up because of `stop`.

        Raises:
            NotConnected: the queue's `retry` allows no further attempt.
            ConnectorError: the backend refused for good, or the connector has a bug.
        """
        if self._given_up is not None and self._lost == self._number:
            await self._connect(self._number)  # the call that gave up may have had no attempt left for it
        failures = 0
        while True:
            seen = self._number
            try:
                with logged_with(self._fields):
                    answer = await call()
                if self._given_up is not None:
                    self._back()
                return answer
            except NotConnected as error:
                failures += 1
                self._report_lost(seen, error)
                again = self._connect_again(seen, failures, error)
                if stop is None:
                    await again
                elif not await _unless(stop, again):
                    return None
            except BaseException as error:
                raise_if_ours(error)
                raise self._named(method, error) from error

    async def confirmed(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call like `call` to "produce", and report a backend that confirms nothing for long."""
        loop, outages, place = asyncio.get_running_loop(), self._health.outages, self._place
        begun = loop.time()
        report = loop.call_later(SILENT, outages.silent, place, f"no record is confirmed for {SILENT:g} s")
        try:
            return await self.call("produce", call)  # type: ignore[return-value]  # without `stop` it is never given up
        finally:
            report.cancel()
            if loop.time() - begun >= SILENT:
                outages.back(place)

    async def once(self, method: str, call: Callable[[], Awaitable[T]], *, connect_again: bool = False) -> T:
        """Make a call without insisting: `NotConnected` is raised as it is, on request once it is connected again."""
        seen = self._number
        try:
            with logged_with(self._fields):
                return await call()
        except NotConnected as error:
            if connect_again:
                # Perhaps no other call does: there may be no room to consume, and nothing to settle.
                self._report_lost(seen, error)
                await self._connect_again(seen, 1, error)
            raise
        except BaseException as error:
            raise_if_ours(error)
            raise self._named(method, error) from error

    def bug(self, text: str) -> ConnectorError:
        """The error for something that the contract of connectors forbids."""
        return ConnectorError(f"{self._label}: {text}; this is a bug of {self._author}")

    def refuse(self, problem: str | None) -> None:
        """Raise the error for a wrong answer; None means that nothing is wrong."""
        if problem is not None:
            raise self.bug(problem)

    def remove_from_health(self) -> None:
        """Remove it from the health registry, once it is closed because its work is done."""
        self._health.remove(self._component)

    async def close(self) -> bool:
        """Shut the connector down. Never raises: what was not settled is redelivered, and others are to be closed.

        Returns:
            Whether it closed cleanly; else what was settled last may not be durable.
        """
        self.set_state("stopping")
        self._health.outages.gone(self._place)
        try:
            with logged_with(self._fields):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await self._connector.shutdown()
            return True
        except ConnectorError as error:
            self.log.warning("%s: did not close cleanly: %s", self._label, _text(error))
        except TimeoutError:
            self.log.warning("%s: did not close within %g s and is left as it is", self._label, CLOSE_TIMEOUT)
        # A bug of its author; logged with its trace.
        except BaseException as error:
            raise_if_ours(error)
            self.log.warning(
                "%s: did not close cleanly: shutdown raised %s", self._label, _shown(error), exc_info=error
            )
        return False

    async def _connect(self, seen: int, connect_timeout: float | None = None) -> None:
        """Connect, unless another call has connected since this one saw connection number `seen`."""
        clock = asyncio.get_running_loop().time
        deadline = None if connect_timeout is None else clock() + connect_timeout
        given_up = self._given_up
        async with self._connecting:
            if self._given_up not in (None, given_up):
                # While this call waited for the lock: the attempts are those of all calls together.
                raise NotConnected(str(self._given_up))
            failures = 0
            while self._number == seen:
                try:
                    with logged_with(self._fields):
                        await self._connector.connect()
                except NotConnected as error:
                    failures += 1
                    reason = _text(error)
                    self.set_state("degraded", reason)
                    self._end_after_last(failures, reason, error)
                    wait = self._wait(failures, error)
                    if deadline is not None:
                        if clock() >= deadline:
                            raise NotConnected(
                                f"{self._label}: {reason}; given up after {connect_timeout:g} s "
                                "(worker: connect_timeout)"
                            ) from error
                        wait = min(wait, deadline - clock())
                    self._health.outages.still_away(self._place, reason, connect_timeout)
                    await asyncio.sleep(wait)
                except BaseException as error:
                    raise_if_ours(error)
                    raise self._named("connect", error) from error
                else:
                    self._number += 1
                    self._back()
                    self._connected_at = clock()
            self.set_state("ok")

    def _back(self) -> None:
        self._given_up = None
        self._health.outages.back(self._place)
        self.set_state("ok")

    async def _connect_again(self, seen: int, failures: int, error: NotConnected) -> None:
        # The first time at once, unless the connector asks for a pause. If connect() succeeds and the call fails again,
        # a connection that breaks at once must not make a hot loop.
        self._end_after_last(failures, _text(error), error)
        if failures > 1 or error.retry_after is not None:
            await asyncio.sleep(self._wait(failures, error))
        await self._connect(seen)

    def _wait(self, failures: int, error: NotConnected) -> float:
        if error.retry_after is not None:
            return max(error.retry_after, SHORTEST_WAIT)
        return RECONNECT.delay(failures) if self._retry is None else self._retry.backoff.delay(failures)

    def _end_after_last(self, failures: int, reason: str, error: NotConnected) -> None:
        """Raise the error of a backend that was tried as often as the queue's `retry` allows."""
        if self._retry is None or failures != self._retry.max_attempts:
            return
        server = "" if not self._place.server or self._place.server in reason else f"{self._place.server}: "
        self._given_up = NotConnected(f"{self._label}: {server}{reason}; {given_up_after(failures)}")
        raise self._given_up from error

    def _report_lost(self, seen: int, error: NotConnected) -> None:
        if self._lost == seen:
            return
        self._lost = seen
        reason = _text(error)
        self.set_state("degraded", reason)
        self._health.outages.lost(self._place, reason, self._connected_at)
        if self._on_lost is not None:
            self._on_lost()

    def _named(self, method: str, error: BaseException) -> ConnectorError:
        """The error with the queue's name. One that the contract does not know is a bug of the connector's author."""
        if isinstance(error, ProduceError):
            return ProduceError(f"{self._label}: {_text(error)}", error.retriable)
        if isinstance(error, FatalConnectorError):
            return FatalConnectorError(f"{self._label}: {_text(error)}")
        if isinstance(error, ConnectorError):
            return ConnectorError(f"{self._label}: {_text(error)}")
        # Only for a bug the traceback is of use.
        self.log.error("%s: %s raised %s", self._label, method, type(error).__name__, exc_info=error)
        return ConnectorError(
            f"{self._label}: {method} raised {_shown(error)}; this is a bug of {self._author}, or a case that it does "
            f"not know"
        )


def given_up_after(failures: int) -> str:
    """The end of an error after the last attempt that a queue's `retry` allows."""
    return f"given up after {failures} attempt{'s' if failures > 1 else ''} (retry.max_attempts of the queue)"


def _shown(error: BaseException) -> str:
    return f"{type(error).__name__}: {_text(error)}"[:300]


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as another:  # noqa: BLE001  (a connector's error may fail to show itself)
        raise_if_ours(another)
        return "(this error cannot be shown as text)"


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do something until it is done, or until `stop` is set; returns whether it is done."""
    doing, stopped = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({doing, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            doing.result()
            return True
        return False
    finally:
        doing.cancel()
        stopped.cancel()
        await asyncio.gather(doing, stopped, return_exceptions=True)
