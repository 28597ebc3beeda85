"""`Engine`: one input queue, one function, its output queues, its dead-letter queue."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from penstock.config.arguments import NOT_GIVEN, Given, check_names, checked_port
from penstock.config.model import EngineSettings, WorkerSettings
from penstock.errors import ConfigError, FunctionError
from penstock.pipeline.extensions import Extensions
from penstock.pipeline.function import Function, read_again, understand
from penstock.pipeline.stream_app import P, R, StreamApp
from penstock.routes import Report, Response, Route
from penstock.routing import TypedOutput

if TYPE_CHECKING:
    from penstock.config.files import Source
    from penstock.config.model import Configuration
    from penstock.config.problems import Problem
    from penstock.events import Observer
    from penstock.middleware import AnyMiddleware
    from penstock.observability.exposition import MetricsRegistry
    from penstock.observability.health import Health
    from penstock.options import Role
    from penstock.pipeline.loop import Pipeline
    from penstock.queues.resolved_queue import ResolvedQueue
    from penstock.retry import RetryPolicy
    from penstock.worker.status import EngineStatus
    from penstock.worker.worker import Worker

Answer = TypeVar("Answer", bound=Callable[[Report], Response])
Opens = TypeVar("Opens", bound=Callable[..., Any])
M = TypeVar("M")

DEFAULT_CONFIG = "penstock.yml"

_SETTINGS = EngineSettings.model_fields.keys() - {"middleware"}  # that an engine may have for itself


class Engine:
    """Runs a function between named queues.

        app = Engine(input_queue="orders", output_queues=["invoices"], dead_letter_queue="rejects")

        @app.stream_app
        def invoice(order: Order) -> list[tuple[str, Invoice]]: ...

        invoice()  # runs until SIGTERM or Ctrl-C; `penstock run` does the same

    Making an engine reads no file, imports no plugin, connects nowhere and installs nothing; that happens when it runs.

    Args:
        input_queue: Name of the queue that messages come from.
        output_queues: Names of the queues that the function may send to; `output` adds to them.
        app_name: The engine's name in logs, metrics and dead letters; the function's name if not given.
        dead_letter_queue: Name of the queue for messages that are not valid, or whose attempts are used up.
        queue_config, yaml_config_path: Other names for `config`, for Python data and for a file.
        metrics_port: Port of metrics and health; None for none. By default what the configuration's `worker:` says.
        max_in_flight, max_in_flight_bytes, batch_size, batch, batch_wait, rate, frequency, concurrency, retry,
            on_invalid, on_failed, delivery, propagate, lineage: What the configuration's `engine:` section says for all
            engines, for this one; see `EngineSettings`.
        poll_interval_seconds: Has no effect; programs written for py-volley have it. Messages are waited for.
        middleware: What stands around each call of the function, the first outermost, inside of what the configuration
            names: functions with one `yield`, `penstock.middleware.Middleware` objects, names, mappings.
        config: The configuration: a YAML, TOML or JSON file, a mapping, or a list of `QueueConfig`; `penstock.yml` if
            not given. A file is read when the engine runs; `penstock run --config` replaces it.

    Raises:
        ConfigError: more than one configuration is given, or a setting is impossible.
    """

    def __init__(
        self,
        input_queue: str,
        output_queues: Sequence[str] = (),
        app_name: str | None = None,
        dead_letter_queue: str | None = None,
        queue_config: Source | None = None,
        yaml_config_path: str | Path | None = None,
        metrics_port: int | Given | None = NOT_GIVEN,
        *,
        max_in_flight: int | None = None,
        max_in_flight_bytes: int | str | None = None,
        batch_size: int | None = None,
        batch: str | None = None,
        batch_wait: float | None = None,
        rate: float | str | None = None,
        frequency: float | None = None,
        concurrency: int | None = None,
        retry: RetryPolicy | Mapping[str, Any] | None = None,
        on_invalid: str | None = None,
        on_failed: str | None = None,
        delivery: str | None = None,
        propagate: Sequence[str] | None = None,
        lineage: int | None = None,
        poll_interval_seconds: float | None = None,
        middleware: Sequence[AnyMiddleware] = (),
        config: Source | None = None,
    ) -> None:
        self._overrides = {key: value for key, value in locals().items() if key in _SETTINGS and value is not None}
        self._function: Function | None = None
        self._app_name = app_name
        self.input_queue = input_queue
        given = {"config": config, "queue_config": queue_config, "yaml_config_path": yaml_config_path}
        sources = {name: source for name, source in given.items() if source is not None}
        if len(sources) > 1:
            raise ConfigError(f"engine {self.app_name!r}: give {' or '.join(sources)}, not both")
        if isinstance(output_queues, str):
            raise ConfigError(f"engine {self.app_name!r}: output_queues is a list of names; write [{output_queues!r}]")
        self.output_queues = tuple(output_queues)
        self.dead_letter_queue = dead_letter_queue
        check_names(input_queue, self.output_queues, app_name=app_name, dead_letter_queue=dead_letter_queue)
        self.metrics_port = metrics_port if metrics_port is NOT_GIVEN else checked_port(metrics_port)
        self._output_models: dict[str, Any] = {}
        self._source: Source | Configuration = next(iter(sources.values()), Path(DEFAULT_CONFIG))
        self._extensions = Extensions(tuple(middleware))
        self.status: EngineStatus | None = None
        if self._overrides:
            EngineSettings(**self._overrides)  # a wrong setting is reported here, where it was written
        self._read_source: tuple[Configuration, Sequence[Problem]] | None = None
        self.pipeline: Pipeline | None = None

    @property
    def app_name(self) -> str:
        """The engine's name in logs, metrics and dead letters: as given, else the function's name."""
        if self._app_name is not None:
            return self._app_name
        return self._function.name.rpartition(".")[2].strip("<>") if self._function else "penstock"

    @overload
    def output(self, queue: str) -> TypedOutput[Any]: ...
    @overload
    def output(self, queue: str, model: type[M]) -> TypedOutput[M]: ...
    def output(self, queue: str, model: Any = Any) -> TypedOutput[Any]:
        """Declare an output queue; what is returned makes outputs for it, and a type checker knows its model.

            invoices = app.output("invoices", Invoice)

            @app.stream_app
            def invoice(order: Order) -> Output:
                return invoices(Invoice(order=order.id), key=order.customer)

        Args:
            queue: Its name; it is added to `output_queues`.
            model: The model of its objects. It is the queue's data model where the configuration does not choose one,
                so other objects are rejected.

        Raises:
            ConfigError: the queue was declared with another model.
        """
        if self._output_models.setdefault(queue, model) is not model:
            raise ConfigError(f"engine {self.app_name!r}: output {queue!r} has another model already; declare it once")
        if queue not in (*self.output_queues, self.dead_letter_queue):
            self.output_queues = (*self.output_queues, queue)
        return TypedOutput(queue, model)

    def stream_app(self, function: Callable[P, R]) -> StreamApp[P, R]:
        """Decorator: this is the function that the engine runs.

        It takes one message (a list of them where the input queue is set to `batch`) and may take
        `msg_ctx: QueueMessage`, the delivery with key, headers and attempts, and resources by their names. It may be a
        plain function, a coroutine function, or a generator of either kind, and returns None or True (done), False
        (requeue the message), an `Output`, `(queue, object)`, `(queue, object, {options})`, or a list of those.

        Raises:
            FunctionError: it takes something else, or the engine has a function already.
        """
        if self._function is not None:
            raise FunctionError(
                f"engine {self.app_name!r} already runs {self._function.name}; make another Engine for "
                f"{getattr(function, '__qualname__', function)}"
            )
        # A model of the function around this one is found among the names there.
        around = sys._getframe(1).f_locals
        self._function = understand(function, dict.fromkeys(self.resource_names), around)
        return StreamApp(function, self)

    def resource(self, function: Opens) -> Opens:
        """Decorator: the worker opens this once, and gives it to each function that has a parameter of its name.

            @app.resource
            async def db() -> AsyncIterator[Pool]:
                async with connect() as pool:
                    yield pool

        It may be a function that returns the resource, or one that yields it once and closes it afterwards; async or
        not. It may itself take resources that are declared above it. Engines of one worker that declare the same
        function share what it opens.

        Raises:
            FunctionError: the name is taken, or a parameter is not a resource.
        """
        self._extensions.resources.add(function)
        return function

    def observer(self, observe: Observer) -> Observer:
        """Decorator: this function is told what happens in the engine, once a batch; see `penstock.events`."""
        self._extensions.observers.append(observe)
        return observe

    def route(self, path: str) -> Callable[[Answer], Answer]:
        """Decorator: the worker's port answers `path` with what this function returns.

        It takes the worker's report, which it may call for what `/status` shows, and returns a
        `penstock.routes.Response`. It is called on a thread of its own.

        Raises:
            ConfigError: this is not a path.
        """

        def add(answer: Answer) -> Answer:
            self._extensions.routes.append(Route(path, answer))
            return answer

        return add

    def configure(self, configuration: Source | Configuration) -> None:
        """Use this configuration instead of the engine's own."""
        self._source, self._read_source = configuration, None

    def copy(self, configuration: Configuration | None = None, **settings: Any) -> Engine:
        """A copy that reads its configuration anew, or uses another one; this engine stays as it is.

        Args:
            configuration: Instead of the engine's own.
            **settings: As `Engine` takes them, such as `delivery`.
        """
        copied = copy.copy(self)
        copied.configure(self._source if configuration is None else configuration)
        copied._overrides = self._overrides | settings
        return copied

    @property
    def resource_names(self) -> list[str]:
        """The names of the resources that it declares."""
        return self._extensions.resources.names

    @property
    def configuration(self) -> Configuration:
        """The engine's configuration, read on first use.

        Raises:
            ConfigError: it does not read; with every problem of the engine's queues as well.
        """
        configuration, problems = self._read()
        if problems:
            raise ConfigError(*self.problems())
        return configuration

    def problems(self, also: Iterable[tuple[str, Role]] = ()) -> Sequence[Problem]:
        """All that is wrong with its configuration, its queues, and these queues that tools use beside it."""
        from penstock.config.resolve import problems_of

        return problems_of(*self._read(), self.wanted, also)

    def _read(self) -> tuple[Configuration, Sequence[Problem]]:
        from penstock.config.files import read

        if self._read_source is None:
            self._read_source = read(self._source)
        return self._read_source

    @property
    def wanted(self) -> Sequence[tuple[str, Role]]:
        """Its queues by name, each with the role that it needs it for."""
        targets = dict.fromkeys(self.output_queues)
        if self.dead_letter_queue is not None:
            targets[self.dead_letter_queue] = None
        return [(self.input_queue, "input"), *((name, "output") for name in targets)]

    def resolve(self) -> dict[tuple[str, Role], ResolvedQueue]:
        """All its queues, ready to be opened, by name and role.

        Raises:
            ConfigError: with every problem of every queue.
        """
        from penstock.config.resolve import registry_for, resolve_queues

        resolved = resolve_queues(self.configuration, self.wanted, registry=registry_for(self.configuration))
        return dict(zip(self.wanted, resolved, strict=True))

    def start(
        self,
        health: Health,
        metrics: MetricsRegistry,
        *,
        queues: Mapping[tuple[str, Role], ResolvedQueue] | None = None,
        resources: Mapping[str, Any] | None = None,
        raise_if_fatal: Callable[[BaseException], None] | None = None,
    ) -> Pipeline:
        """Build the pipeline; what a `Worker` calls. Connects nothing yet.

        Args:
            health, metrics: Where the states of its parts are shown, and its counters added.
            queues: What an earlier `resolve` returned, to run the same again.
            resources: Values by name, instead of what the declared resources open.
            raise_if_fatal: Raises those of the function's exceptions that are not failures of the function.

        Raises:
            ConfigError, PluginError, FunctionError: it cannot run as it is.
        """
        from penstock.observability.counting import EngineMetrics
        from penstock.pipeline.annotation import with_annotation, with_declared_model
        from penstock.pipeline.compile import compile_pipeline
        from penstock.pipeline.open_resources import OpenResources
        from penstock.queues.cancellation import raise_if_exit
        from penstock.worker.status import EngineStatus

        if self._function is None:
            raise FunctionError(
                f"engine {self.app_name!r} (input queue {self.input_queue!r}) has no function; decorate one with "
                f"@app.stream_app"
            )
        queues = self.resolve() if queues is None else queues
        settings = self.settings
        function = read_again(self._function)
        source = with_annotation(queues[self.input_queue, "input"], function)
        outputs = {name: queue for (name, role), queue in queues.items() if role == "output"}
        targets = {name: with_declared_model(queue, self._output_models) for name, queue in outputs.items()}
        counters = EngineMetrics(self.app_name, source.name, source.connector, list(targets))
        metrics.add(counters)
        for observer in self._extensions.observers:
            health.subscribe(observer)
        opened = [source, *targets.values()]
        self.status = EngineStatus(function.name, opened, self.dead_letter_queue, settings, counters, self._extensions)
        opened_resources = OpenResources(self.app_name, self._extensions.resources, resources or {})
        self.pipeline = compile_pipeline(
            self.app_name,
            understand(function.function, opened_resources.give(function.resources)),
            source,
            targets,
            self.dead_letter_queue,
            settings,
            counters,
            health,
            resources=opened_resources,
            middleware=self._extensions.all_middleware(self.configuration, self.app_name),
            observers=self._extensions.observers,
            raise_if_fatal=raise_if_fatal or raise_if_exit,
        )
        return self.pipeline

    @property
    def routes(self) -> list[Route]:
        """What the worker's port answers beside its own routes: this engine's, and those that the configuration names.

        Raises:
            ConfigError: the configuration names one that is unknown.
        """
        return self._extensions.all_routes(self.configuration)

    @property
    def given(self) -> frozenset[str]:
        """The names of the settings that the program gives."""
        return frozenset(self._overrides)

    @property
    def settings(self) -> EngineSettings:
        """The settings in force: the program's over the configuration's."""
        base = self.configuration.engine.model_dump(exclude_unset=True)
        return EngineSettings(**(base | self._overrides))

    def worker_settings(self, others: Iterable[object] = ()) -> WorkerSettings:
        """The settings of a worker that runs this engine, beside others if it does.

        They are those of this engine's configuration, with the first port that one of the engines was given.
        """
        settings = self.configuration.worker
        engines = [self, *(each for each in others if isinstance(each, Engine))]
        ports = [engine.metrics_port for engine in engines if engine.metrics_port is not NOT_GIVEN]
        if not ports:
            return settings
        return settings.model_copy(update={"metrics_port": next((port for port in ports if port is not None), None)})

    def run(self) -> None:
        """Run this engine alone until SIGTERM or Ctrl-C. Where an event loop runs already, `serve` does it.

        Raises:
            PenstockError: why it cannot run, or could not go on.
        """
        self._worker().run()

    async def serve(self) -> None:
        """`run`, on the event loop that runs already, as in a notebook: `await app.serve()`."""
        await self._worker().serve()

    def _worker(self) -> Worker:
        from penstock.starting import reject_start_in_import
        from penstock.worker.worker import Worker

        reject_start_in_import()
        return Worker([self], self.worker_settings())
