"""`Engine`: one input queue, one function, its output queues, its dead-letter queue."""

from __future__ import annotations

import enum
import functools
import logging
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from penstock.config.model import EngineSettings, WorkerSettings
from penstock.errors import ConfigError, FunctionError
from penstock.pipeline.function import Function, understand
from penstock.routes import Report, Response, Route
from penstock.routing import Output

if TYPE_CHECKING:
    from penstock.config.files import Source
    from penstock.config.model import Configuration
    from penstock.config.problems import Problem
    from penstock.middleware import AnyMiddleware, Middleware, Wrapper
    from penstock.observability.health import Health
    from penstock.observability.metrics import MetricsRegistry
    from penstock.options import Role
    from penstock.pipeline.loop import Pipeline
    from penstock.queues.resolved_queue import ResolvedQueue
    from penstock.retry import RetryPolicy
    from penstock.worker.status import EngineStatus

log = logging.getLogger("penstock")

P = ParamSpec("P")
Item = Output | tuple[str, Any] | tuple[str, Any, Mapping[str, Any] | None]
Result = Item | Iterable[Item] | AsyncIterable[Item] | bool | None
"""What a function may return, for type checkers; `routing` judges what it does return."""
Answer = TypeVar("Answer", bound=Callable[[Report], Response])
R = TypeVar("R", bound=Result | Awaitable[Result])

DEFAULT_CONFIG = "penstock.yml"


class _Given(enum.Enum):
    NOT = "not given"


NOT_GIVEN = _Given.NOT
"""The default of an argument for which None means something."""


class StreamApp(Generic[P, R]):
    """A decorated function. Called with a message it is the function itself; called with nothing it runs its engine.

    Attributes:
        engine: The engine that runs it.
    """

    def __init__(self, function: Callable[P, R], engine: Engine) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self.engine = engine

    @overload
    def __call__(self) -> None: ...
    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not args and not kwargs:
            return self.engine.run()
        return self._function(*args, **kwargs)


class Engine:
    """Runs a function between named queues.

        app = Engine(input_queue="orders", output_queues=["invoices"], dead_letter_queue="rejects")

        @app.stream_app
        def invoice(order: Order) -> list[tuple[str, Invoice]]: ...

        invoice()  # runs until SIGTERM or Ctrl-C; `penstock run` does the same

    Making an engine reads no file, imports no plugin, connects nowhere and installs nothing; that happens when it runs.

    Args:
        input_queue: Name of the queue that messages come from.
        output_queues: Names of the queues that the function may send to.
        app_name: The engine's name in logs, metrics and dead letters.
        dead_letter_queue: Name of the queue for messages that are not valid, or whose attempts are used up.
        queue_config: The configuration as Python data: a list of `QueueConfig`, or a mapping.
        yaml_config_path: The configuration as a YAML or TOML file; `penstock.yml` if neither is given. Read when the
            engine runs; `penstock run --config` replaces it.
        metrics_port: Port of metrics and health; None for none. By default what the configuration's `worker:` says.
        max_in_flight, max_in_flight_bytes, batch_size, concurrency, retry, on_invalid, delivery, propagate: What the
            configuration's `engine:` section says for all engines, for this one; see `EngineSettings`.
        middleware: What stands around each call of the function, the first outermost, inside of what the configuration
            names: functions with one `yield`, `penstock.middleware.Middleware` objects, names, mappings.

    Raises:
        ConfigError: both `queue_config` and `yaml_config_path` are given, or a setting is impossible.
    """

    def __init__(
        self,
        input_queue: str,
        output_queues: Sequence[str] = (),
        app_name: str = "penstock",
        dead_letter_queue: str | None = None,
        queue_config: Source | None = None,
        yaml_config_path: str | Path | None = None,
        metrics_port: int | _Given | None = NOT_GIVEN,
        *,
        max_in_flight: int | None = None,
        max_in_flight_bytes: int | str | None = None,
        batch_size: int | None = None,
        concurrency: int | None = None,
        retry: RetryPolicy | Mapping[str, Any] | None = None,
        on_invalid: str | None = None,
        delivery: str | None = None,
        propagate: Sequence[str] | None = None,
        middleware: Sequence[AnyMiddleware] = (),
    ) -> None:
        if queue_config is not None and yaml_config_path is not None:
            raise ConfigError(f"engine {app_name!r}: give queue_config or yaml_config_path, not both")
        if isinstance(output_queues, str):
            raise ConfigError(f"engine {app_name!r}: output_queues is a list of names; write [{output_queues!r}]")
        self.input_queue = input_queue
        self.output_queues = tuple(output_queues)
        self.app_name = app_name
        self.dead_letter_queue = dead_letter_queue
        own = Path(yaml_config_path or DEFAULT_CONFIG) if queue_config is None else queue_config
        self._source: Source | Configuration = own
        self.metrics_port = metrics_port
        overrides: dict[str, Any] = {
            "max_in_flight": max_in_flight,
            "max_in_flight_bytes": max_in_flight_bytes,
            "batch_size": batch_size,
            "concurrency": concurrency,
            "retry": retry,
            "on_invalid": on_invalid,
            "delivery": delivery,
            "propagate": propagate,
        }
        self._middleware = tuple(middleware)
        self._routes: list[Route] = []
        self.status: EngineStatus | None = None
        self._raise_if_fatal: Callable[[BaseException], None] | None = None
        self._overrides = {key: value for key, value in overrides.items() if value is not None}
        if self._overrides:
            EngineSettings(**self._overrides)  # a wrong setting is reported here, where it was written
        self._function: Function | None = None
        self._configuration: Configuration | None = None
        self._problems: Sequence[Problem] = ()
        self.pipeline: Pipeline | None = None

    def stream_app(self, function: Callable[P, R]) -> StreamApp[P, R]:
        """Decorator: this is the function that the engine runs.

        It takes one message (a list of them where the input queue is set to `batch`) and may take `msg_ctx`, the
        connector's handle of it. It may be a plain function, a coroutine function, or a generator of either kind, and
        returns None or True (done), False (requeue the message), an `Output`, `(queue, object)`,
        `(queue, object, {options})`, or a list of those.

        Raises:
            FunctionError: it takes something else, or the engine has a function already.
        """
        if self._function is not None:
            raise FunctionError(
                f"engine {self.app_name!r} already runs {self._function.name}; make another Engine for "
                f"{getattr(function, '__qualname__', function)}"
            )
        self._function = understand(function)
        return StreamApp(function, self)

    def route(self, path: str) -> Callable[[Answer], Answer]:
        """Decorator: the worker's port answers `path` with what this function returns.

        It takes the worker's report, which it may call for what `/status` shows, and returns a
        `penstock.routes.Response`. It is called on a thread of its own.

        Raises:
            ConfigError: this is not a path.
        """

        def add(answer: Answer) -> Answer:
            self._routes.append(Route(path, answer))
            return answer

        return add

    def configure(self, configuration: Source | Configuration) -> None:
        """Use this configuration instead of the engine's own."""
        self._source, self._configuration = configuration, None

    @property
    def configuration(self) -> Configuration:
        """The engine's configuration, read on first use.

        Raises:
            ConfigError: it does not read; with every problem of the engine's queues as well.
        """
        configuration = self._read()
        if self._problems:
            raise ConfigError(*self.problems())
        return configuration

    def problems(self, also: Iterable[tuple[str, Role]] = ()) -> Sequence[Problem]:
        """All that is wrong with its configuration and its queues, and with these queues of the same configuration."""
        from penstock.config.resolve import problems_of

        return problems_of(self._read(), self._problems, [*self.wanted, *also])

    def _read(self) -> Configuration:
        from penstock.config.files import read

        if self._configuration is None:
            self._configuration, self._problems = read(self._source)
        return self._configuration

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

    def start(self, health: Health, metrics: MetricsRegistry) -> Pipeline:
        """Build the pipeline; what a `Worker` calls. Connects nothing yet.

        Raises:
            ConfigError, PluginError, FunctionError: it cannot run as it is.
        """
        from penstock.observability.metrics import EngineMetrics
        from penstock.pipeline.annotation import with_annotation
        from penstock.pipeline.compile import compile_pipeline
        from penstock.queues.cancellation import raise_if_exit
        from penstock.worker.status import EngineStatus

        if self._function is None:
            raise FunctionError(
                f"engine {self.app_name!r} (input queue {self.input_queue!r}) has no function; decorate one with "
                f"@app.stream_app"
            )
        queues = self.resolve()
        settings = self._settings()
        log.info("%s", self._route(queues))
        source = with_annotation(queues.pop((self.input_queue, "input")), self._function)
        _refuse_feeding_itself(self.app_name, source, queues.get((self.dead_letter_queue or "", "output")))
        targets = {name: _open_to_anything(queue) for (name, _role), queue in queues.items()}
        counters = EngineMetrics(self.app_name, source.name, source.connector, list(targets))
        metrics.add(counters)
        self.status = EngineStatus(
            self._function.name, [source, *targets.values()], self.dead_letter_queue, settings, counters
        )
        self.pipeline = compile_pipeline(
            self.app_name,
            self._function,
            source,
            targets,
            self.dead_letter_queue,
            settings,
            counters,
            health,
            middleware=self._made_middleware(),
            raise_if_fatal=self._raise_if_fatal or raise_if_exit,
        )
        return self.pipeline

    @property
    def routes(self) -> list[Route]:
        """What the worker's port answers beside its own routes: this engine's, and those that the configuration names.

        Raises:
            ConfigError: the configuration names one that is unknown.
        """
        from penstock.config.resolve import registry_for
        from penstock.config.routes import configured_routes

        configured, problems = configured_routes(self.configuration, registry_for(self.configuration))
        if problems:
            raise ConfigError(*problems)
        return [*self._routes, *configured]

    def _made_middleware(self) -> list[Middleware | Wrapper]:
        from penstock.config.middleware import configured_middleware, make_middleware
        from penstock.config.resolve import registry_for

        registry = registry_for(self.configuration)
        configured, problems = configured_middleware(self.configuration, registry)
        own, own_problems = make_middleware(self._middleware, registry, f"engine {self.app_name!r}")
        if problems or own_problems:
            raise ConfigError(*problems, *own_problems)
        return [*configured, *own]

    def _route(self, queues: Mapping[tuple[str, Role], ResolvedQueue]) -> str:
        """`engine 'till': from 'orders' (kafka) to 'invoices' (rsmq), dead letters to 'rejects' (kafka)`."""
        shown = {name: f"{name!r} ({queue.connector})" for (name, _role), queue in queues.items()}
        outputs = f" to {', '.join(shown[name] for name in self.output_queues)}" if self.output_queues else ""
        dead = f", dead letters to {shown[self.dead_letter_queue]}" if self.dead_letter_queue is not None else ""
        return f"engine {self.app_name!r}: from {shown[self.input_queue]}{outputs}{dead}"

    def _settings(self) -> EngineSettings:
        base = self.configuration.engine.model_dump(exclude_unset=True)
        return EngineSettings(**(base | self._overrides))

    def worker_settings(self) -> WorkerSettings:
        """The worker's settings, with this engine's own port if it was given one."""
        settings = self.configuration.worker
        if self.metrics_port is NOT_GIVEN:
            return settings
        return settings.model_copy(update={"metrics_port": self.metrics_port})

    def run(self) -> None:
        """Run this engine alone until SIGTERM or Ctrl-C.

        Raises:
            PenstockError: why it cannot run, or could not go on.
        """
        from penstock.worker.worker import Worker

        Worker([self], self.worker_settings()).run()


def _refuse_feeding_itself(app: str, source: ResolvedQueue, dead_letters: ResolvedQueue | None) -> None:
    """A dead letter that comes back as a message fails again, and again, as fast as the backend can.

    Raises:
        ConfigError: the dead-letter queue is the input queue, by its name or by what that means to the backend.
    """
    if dead_letters is None:
        return
    where, there = ((each.connector, each.value, each.options) for each in (source, dead_letters))
    if source.name == dead_letters.name or where == there:
        same = "" if source.name == dead_letters.name else f", which is input queue {source.name!r} under another name"
        raise ConfigError(
            f"engine {app!r}: dead_letter_queue={dead_letters.name!r} is where its messages come from{same}: a message "
            f"that fails would be fed to the function for ever; name another queue, or none"
        )


def _open_to_anything(target: ResolvedQueue) -> ResolvedQueue:
    """An output takes any model or plain data where nobody chose a data model for it."""
    return replace(target, data_model=Any) if target.data_model_is_default and target.model_handler else target
