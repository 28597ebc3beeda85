"""A process that runs one or more engines: start, supervise, drain, stop in order."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from functools import cached_property
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from penstock.config.model import WorkerSettings
from penstock.config.without_effect import worker_options_without_effect
from penstock.errors import ConfigError, PenstockError, ProcessEnded
from penstock.observability.counting import EngineMetrics
from penstock.observability.exposition import MetricsRegistry
from penstock.observability.health import Health, UnobservedHealth
from penstock.starting import reject_start_in_import, reject_start_in_loop
from penstock.worker import streams
from penstock.worker.child_process import number_of, stop_with_parent, tell_port
from penstock.worker.collector import tuned_collector
from penstock.worker.life_cycle import log_start, log_stop, log_summary
from penstock.worker.listener import listening, nothing
from penstock.worker.log_guard import unfailing_logs
from penstock.worker.log_setup import log_set_up
from penstock.worker.signals import stop_signals
from penstock.worker.status import EngineStatus, worker_report
from penstock.worker.summary import summary

if TYPE_CHECKING:
    from penstock.worker.endpoints import Endpoints

log = logging.getLogger("penstock")

IDLE_CHECK_INTERVAL = 0.02  # seconds between two checks whether everything is drained
ABORTED = 130  # the exit code after a second signal
ABORT_LOG_TIMEOUT = 1.0  # seconds that the log may take for its last lines before an abort


class Running(Protocol):
    """What a worker runs: the pipeline of an engine, or a feed."""

    async def run(self, connect_timeout: float | None, shutdown_timeout: float) -> None:
        """Work until `stop`, or until everything is done; raises why it could not go on."""

    def stop(self) -> None:
        """Start nothing new; finish what runs."""

    def drain(self) -> None:
        """From now on the worker waits until this is without work."""

    async def idle_since(self) -> float | None:
        """Since when there is nothing to do, by `monotonic`; None while there is or may be something."""


class Runnable(Protocol):
    """Something that a worker can start."""

    def start(self, health: Health, metrics: MetricsRegistry) -> Running:
        """Build what runs. Connects nothing yet.

        Raises:
            ConfigError, PluginError: it cannot run as it is configured.
        """


@runtime_checkable
class Configured(Protocol):
    """A runnable whose configuration has settings for its worker."""

    def worker_settings(self, others: Iterable[object] = ()) -> WorkerSettings:
        """The settings of a worker that runs it beside others."""


class Worker:
    """Runs engines in this process until a signal, until one fails, or until their queues are empty.

    Args:
        runnables: The engines (and feeds).
        settings: Ports and timeouts; by default those of the first engine's configuration.
        drain: Work until every input queue is empty and nothing is in flight, then stop.

    Attributes:
        health, metrics: The boards that `/readyz` and `/metrics` show.
        drained: Whether a drain came to its end: every queue was empty, and nothing was in flight. False after a stop
            that came first.
    """

    def __init__(
        self, runnables: Sequence[Runnable], settings: WorkerSettings | None = None, *, drain: bool = False
    ) -> None:
        self._runnables = runnables
        self._given_settings = settings
        self._drain = drain
        self._owns_process = False
        self.health = Health()
        self.metrics = MetricsRegistry()
        self.drained = False
        self._started = time()
        self._running: list[Running] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping: asyncio.Task[None] | None = None  # logs what a stop waits for
        self._errors: list[BaseException] = []

    @cached_property
    def _settings(self) -> WorkerSettings:
        if self._given_settings is not None:
            return self._given_settings if number_of() is None else _of_child(self._given_settings)
        configured = (each for each in self._runnables if isinstance(each, Configured))
        first = next(configured, None)
        settings = WorkerSettings() if first is None else first.worker_settings(self._runnables)
        return settings if number_of() is None else _of_child(settings)

    @property
    def supervises(self) -> bool:
        """Whether the work is done by other processes, which `run` starts and watches."""
        return self._settings.process_count > 1

    def run(self) -> None:
        """Run until done. Handles signals on the main thread only, and restores their handlers afterwards.

        Meanwhile `sys.stdout` and `sys.stderr` drop what cannot be written, no log call raises, the log is set up, and
        the garbage collector is tuned, as the settings say.

        Raises:
            PenstockError: why an engine could not go on; all others were stopped in order first.
        """
        reject_start_in_import()
        reject_start_in_loop("`await app.serve()` for an engine, `await Worker([…]).serve()` for a worker")
        # On another thread it runs inside of a program, whose collector it leaves alone.
        self._owns_process = threading.current_thread() is threading.main_thread()
        with (
            listening(nothing, self._abort),
            streams.guarded(),
            log_set_up() if self._owns_process else nullcontext() as configure_log,
        ):  # from now on, so that no signal is lost while it starts
            if configure_log is not None:
                configure_log(self._settings.log, "warning" if self._drain else "info")
            if self.supervises:
                self._run_processes()
                return
            if number_of() is not None:
                stop_with_parent()
            asyncio.run(self.serve())

    def _run_processes(self) -> None:
        """Run the processes; what they have to say they say themselves.

        Raises:
            ConfigError: it does not have a process to itself.
            SystemExit: one of them failed; with its exit code.
        """
        from penstock.worker.supervisor import Supervisor  # here: most workers are one process

        if not self._owns_process:
            raise ConfigError("'processes' needs a process of its own; start the worker on the main thread")
        if code := asyncio.run(Supervisor(self._settings, drain=self._drain).run()):
            raise SystemExit(code)
        self.drained = self._drain

    async def serve(self) -> None:
        """Run until done, on the running event loop."""
        reject_start_in_import()
        with unfailing_logs(), streams.reporting_losses(self._loss_reporter()):
            await self._serve()

    async def _serve(self) -> None:
        endpoints = None
        try:
            with stop_signals(self.stop, self._abort):
                self._running = self._start()
                endpoints = self._endpoints()
                log_start(None if endpoints is None else endpoints.serves, self._engines())
                with tuned_collector() if self._tunes_collector else nullcontext():
                    await self._supervise()
        finally:
            log_summary(logging.INFO, self._summarized())
            if endpoints is not None:
                endpoints.stop()
        for error in self._errors[1:]:
            log.error("%s", error)
        if self._errors:
            raise _to_raise(self._errors[0])

    @property
    def _tunes_collector(self) -> bool:
        # In a program that only embeds a worker, the collector is the program's.
        return self._owns_process and self._settings.tune_garbage_collector

    def _loss_reporter(self) -> Callable[[str, str], None]:
        """What reports that something could not be printed; it may be called on any thread."""
        loop = asyncio.get_running_loop()

        def report(stream: str, text: str) -> None:
            # Also in the health registry, because the log itself may be lost. The worker stays ready.
            self.health.set_state(stream, "ok", text)
            log.warning("%s", text)

        def report_from_any_thread(stream: str, text: str) -> None:
            loop.call_soon_threadsafe(report, stream, text)

        return report_from_any_thread

    def summary(self) -> Sequence[str]:
        """What became of the messages so far, in a line for each engine; nothing before all could be started."""
        return [summary(counters) for counters in self._summarized()]

    def _summarized(self) -> Sequence[EngineMetrics]:
        return self.metrics.engines() if self._running else ()

    def stop(self) -> None:
        """Stop everything in order; `run` returns when it is done. Call it on the event loop's thread."""
        self._stop_all("")

    def _abort(self) -> None:
        # At once, without a flush: unsettled messages are redelivered, as after a power cut. The last lines are logged
        # on a thread, because a lock of the log or of the metrics may never be released.
        logging_thread = threading.Thread(target=self._log_abort, daemon=True)
        try:
            logging_thread.start()
            logging_thread.join(ABORT_LOG_TIMEOUT)
        finally:
            os._exit(ABORTED)  # also if no thread can start

    def _log_abort(self) -> None:
        log.warning("second signal: ending now; unsettled messages will be redelivered")
        log_summary(logging.WARNING if self._drain else logging.INFO, self._summarized())
        logging.shutdown()

    def _start(self) -> list[Running]:
        """Build all that runs.

        Raises:
            ConfigError: with every problem of all of them, so that one start shows them all.
        """
        for note in worker_options_without_effect(self._settings):
            log.warning("worker: %s", note)
        running, refused = [], []
        for runnable in self._runnables:
            try:
                running.append(runnable.start(self.health, self.metrics))
            except ConfigError as error:
                refused.append(error)
        if len(refused) == 1:
            raise refused[0]  # as it is: it may say more by its class
        if refused:
            raise ConfigError(*dict.fromkeys(problem for error in refused for problem in error.problems))
        return running

    async def check(self) -> None:
        """Build all that would run, and connect nothing: what `penstock check` asks.

        Raises:
            ConfigError, PluginError, FunctionError: as the start would.
        """
        self.health = UnobservedHealth()
        self._start()
        for each in self._runnables:
            _ = getattr(each, "routes", ())

    def _endpoints(self) -> Endpoints | None:
        host, port = self._settings.metrics_host, self._settings.metrics_port
        if port is None:
            return None
        from penstock.worker.endpoints import Endpoints  # here: not every worker has a port

        routes = [route for each in self._runnables for route in getattr(each, "routes", ())]
        endpoints = Endpoints(host, port, self.health, self.metrics, self.report, routes)
        found = endpoints.start()
        if number_of() is not None and found is not None:
            tell_port(found)
        return endpoints

    def report(self) -> dict[str, Any]:
        """What `/status` shows, from any thread: the worker, its settings, and its engines."""
        return worker_report(self._started, self.health, self._settings, self._engines())

    def _engines(self) -> list[EngineStatus]:
        return [status for each in self._runnables if (status := getattr(each, "status", None)) is not None]

    async def _supervise(self) -> None:
        settings = self._settings
        self._tasks = [
            asyncio.create_task(running.run(settings.connect_timeout, settings.shutdown_timeout))
            for running in self._running
        ]
        draining = asyncio.create_task(self._stop_when_drained()) if self._drain else None
        waiting: set[asyncio.Task[None]] = set(self._tasks)
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                # In the order of the engines: a set has none, and two may fail within one turn of the loop.
                for task in sorted(done, key=self._tasks.index):
                    if (error := _error_of(task)) is not None:
                        self._fail(error)
            # What ended by itself, as a feed does, has nothing left to do.
            self.drained = self.drained or (draining is not None and self._stopping is None)
        except asyncio.CancelledError:
            # The program that runs the worker in its own loop cancels it; it still stops in order.
            self._stop_all(", because the program cancels it")
            await asyncio.wait(self._tasks)
            raise
        finally:
            for side_task in (draining, self._stopping):
                if side_task is not None:
                    side_task.cancel()

    def _fail(self, error: BaseException) -> None:
        if not self._errors:
            # One engine that cannot go on stops the whole worker in order: half a worker would still look healthy.
            self._stop_all(", because a part of it cannot go on")
        self._errors.append(error)

    def _stop_all(self, why: str) -> None:
        for running in self._running:
            running.stop()
        if self._stopping is None and self._running:
            self._stopping = asyncio.create_task(log_stop(why, self._settings.shutdown_timeout, self._running))

    async def _stop_when_drained(self) -> None:
        for running in self._running:
            running.drain()
        try:
            await self._until_drained()
        # A queue that cannot say whether it is empty would otherwise be waited for without end.
        except Exception as error:  # noqa: BLE001  (it is raised from `run`)
            self._fail(error)
        else:
            self.drained = True
            self._stop_all(", because every queue is empty")

    async def _until_drained(self) -> None:
        while True:
            # Quiet is when each was found without work after the last of them had any: one engine's output may be
            # another one's input, in a circle.
            looked = monotonic()
            if await self._all_idle(None) and await self._all_idle(looked):
                return
            await asyncio.sleep(IDLE_CHECK_INTERVAL)

    async def _all_idle(self, after: float | None) -> bool:
        """Whether everything is without work, and, given a time, was found so by a look that began after it."""
        while True:
            since = [await running.idle_since() for running in self._running]
            if any(moment is None for moment in since):
                return False
            if after is None or all(moment > after for moment in since if moment is not None):
                return True
            await asyncio.sleep(IDLE_CHECK_INTERVAL)


def _of_child(settings: WorkerSettings) -> WorkerSettings:
    port = None if settings.metrics_port is None else 0
    return settings.model_copy(update={"processes": 1, "metrics_host": "127.0.0.1", "metrics_port": port})


def _error_of(task: asyncio.Task[None]) -> BaseException | None:
    if task.cancelled():
        return PenstockError("a part of the worker was cancelled from outside, so the rest of it stops")
    return task.exception()


def _to_raise(error: BaseException) -> BaseException:
    """What to raise for an error. What ends the process says nothing by itself, so it is logged."""
    cause = error.__cause__
    if not isinstance(error, ProcessEnded) or cause is None:
        return error
    steps = traceback.extract_tb(cause.__traceback__)
    where = f" at {steps[-1].filename}:{steps[-1].lineno}" if steps else ""
    log.error("%s: %r%s; the message is left in its queue", error, cause, where)
    return cause
