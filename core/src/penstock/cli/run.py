"""`penstock run`: engines until a signal, or until their queues are empty."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

from penstock.cli.apps import find_engines
from penstock.cli.exits import NOT_DRAINED, exit_code
from penstock.cli.feed import Collector, Feed
from penstock.cli.lines_file import Existing
from penstock.config.files import load, read
from penstock.config.model import Configuration, LogFormat, LogLevel, LogSettings, WorkerSettings
from penstock.config.resolve import problems_of
from penstock.engine import Engine
from penstock.errors import ConfigError, PenstockError
from penstock.operations.open import resolved
from penstock.options import Role
from penstock.terminal.bars import Bar
from penstock.terminal.run_view import RunView, shown
from penstock.worker.child_process import number_of
from penstock.worker.log_setup import Configure, log_set_up, writes_json
from penstock.worker.summary import all_succeeded, left_in
from penstock.worker.worker import Runnable, Worker

log = logging.getLogger("penstock")

COLLECT_BATCH = 1_000  # messages written, and settled, together


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `penstock run`."""
    parser.set_defaults(reject=parser.error)  # prints the usage too
    parser.add_argument(
        "apps",
        nargs="*",
        metavar="APP",
        help="a file (app.py), a module, or module:attribute; none, with --config, to --feed or --collect alone",
    )
    parser.add_argument("--config", metavar="FILE", help="YAML, TOML or JSON; replaces what the apps name themselves")
    parser.add_argument(
        "--drain", action="store_true", help="stop once every input queue is empty; exit code 3 if stopped before"
    )
    parser.add_argument(
        "--feed",
        action="append",
        default=[],
        metavar="QUEUE=FILE",
        help="publish each line of a file of JSON lines ('-': standard input) into a queue",
    )
    parser.add_argument(
        "--collect",
        action="append",
        default=[],
        metavar="QUEUE=FILE",
        help="take the messages out of a queue, and write each as a JSON line ('-': standard output)",
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--append", action="store_true", help="collect behind what a file holds already")
    existing.add_argument("--overwrite", action="store_true", help="replace what a file holds by what is collected")
    parser.add_argument(
        "--processes",
        metavar="N",
        help="run N processes, watched and replaced; 'auto': one for each core",
    )
    parser.add_argument("--metrics-port", metavar="PORT", help="port of /metrics, /livez and /readyz; 'none' for none")
    levels = get_args(LogLevel)
    level = parser.add_mutually_exclusive_group()
    level.add_argument(
        "--log-level",
        type=str.lower,
        choices=levels,
        metavar="LEVEL",
        help=f"{', '.join(levels)}; info, with --drain warning",
    )
    level.add_argument(
        "-v", "--verbose", dest="log_level", action="store_const", const="debug", help="the same as --log-level debug"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--log-format", choices=get_args(LogFormat), help="what a line of the log looks like")
    form.add_argument("--log-config", metavar="FILE", help="a file for Python's logging: YAML, TOML, JSON or ini")


def run(arguments: argparse.Namespace) -> int:
    """Run engines. Returns 0 after a signal or a complete drain, 3 after a drain that was stopped before its end."""
    chosen = LogSettings(level=arguments.log_level, format=arguments.log_format, config=arguments.log_config)
    with log_set_up(chosen) as configure_log:
        try:
            return _run(arguments, chosen, configure_log)
        except PenstockError as error:
            if not writes_json():
                raise
            log.error("%s", error)
            return exit_code(error)


def _run(arguments: argparse.Namespace, chosen: LogSettings, configure_log: Configure) -> int:
    engines = find_engines(arguments.apps)
    _reject_incomplete(arguments)
    _reject_shared(arguments.feed, arguments.collect)
    configuration = _configure(arguments, engines)
    settings = _worker_settings(configuration, engines, arguments)
    configure_log(_log_settings(settings.log, chosen), "warning" if arguments.drain else "info")
    with ExitStack() as files:
        feeds = [_feed(text, configuration, engines) for text in arguments.feed]
        for feed in feeds:
            files.callback(feed.close)
        existing: Existing = "append" if arguments.append else "overwrite" if arguments.overwrite else "reject"
        collectors = [_collector(text, configuration, engines, existing, files) for text in arguments.collect]
        collecting = [
            _collecting_engine(text, configuration, collector)
            for text, collector in zip(arguments.collect, collectors, strict=True)
        ]
        runnables: list[Runnable] = [*feeds, *engines, *collecting]
        worker = Worker(runnables, settings, drain=arguments.drain)
        view = RunView(worker.metrics.engines, partial(_bars, feeds), arguments.drain)
        end = partial(_report_end, arguments, worker, feeds, [] if worker.supervises else [*engines, *collecting])
        try:
            # Of several processes none has the terminal to itself.
            with nullcontext() if worker.supervises or number_of() else shown(view):
                worker.run()
            for collector in collectors:
                collector.finish()
        except BaseException as error:
            end(error)
            raise
        return end(None)


def _bars(feeds: Sequence[Feed]) -> Sequence[Bar]:
    return [feed.bar for feed in feeds if feed.left() is not None]


def _report_end(
    arguments: argparse.Namespace,
    worker: Worker,
    feeds: Sequence[Feed],
    engines: Sequence[Engine],
    error: BaseException | None,
) -> int:
    """Report on standard error what became of the messages, and what is left.

    Without a terminal, a good end is not reported: a stop by a signal, or a drain in which every message succeeded.

    Returns:
        The exit code of a run that `error` did not end.
    """
    # A pipe that feeds a service has no end.
    left = [feed.left() for feed in feeds if arguments.drain or feed.path != "-"]
    if arguments.drain:
        left += [_left_by(engine, worker.drained) for engine in engines]
    reports = [f"left: {sentence}" for sentence in left if sentence is not None]
    unfinished = arguments.drain and error is None and bool(reports or not worker.drained)
    good = error is None and not unfinished and all(map(all_succeeded, worker.metrics.engines()))
    good = good or not (arguments.drain or isinstance(error, Exception))
    summary = worker.summary()  # nothing, if it could not even start
    if not log.isEnabledFor(logging.INFO) and (sys.stderr.isatty() or not good):  # else the log has it
        _tell(*summary)
    if summary:
        _tell(*reports)
    if unfinished:
        _tell("penstock: the drain was stopped before its end: not everything is settled")
    return NOT_DRAINED if unfinished else 0


def _tell(*lines: str) -> None:
    for line in lines:
        if writes_json():
            log.warning("%s", line)
        else:
            print(line, file=sys.stderr)


def _left_by(engine: Engine, drained: bool) -> str | None:
    ending = None if engine.pipeline is None else engine.pipeline.ending
    if drained and ending is not None and not ending.unsettled and ending.clean:
        return None  # these messages came after the queue was empty
    return left_in(engine.input_queue, ending)


def _configure(arguments: argparse.Namespace, engines: Sequence[Engine]) -> Configuration:
    """Let all engines read their configuration; returns the configuration of the run.

    Raises:
        ConfigError: with every problem of everything that this run needs.
    """
    also: list[tuple[str, Role]] = [
        *((_split("--feed", text)[0], "output") for text in arguments.feed),
        *((_split("--collect", text)[0], "input") for text in arguments.collect),
    ]
    if arguments.config is None:
        first, *others = engines
        problems = [*first.problems(also), *(text for engine in others for text in engine.problems())]
    else:
        configuration, unread = read(arguments.config)
        wanted = [each for engine in engines for each in engine.wanted]
        problems = list(problems_of(configuration, unread, wanted, also))
        for engine in engines:
            engine.configure(configuration)
    if problems:
        raise ConfigError(*dict.fromkeys(problems))
    return configuration if arguments.config is not None else engines[0].configuration


def _worker_settings(
    configuration: Configuration, engines: Sequence[Engine], arguments: argparse.Namespace
) -> WorkerSettings:
    settings = engines[0].worker_settings(engines) if engines else configuration.worker
    chosen = {"metrics_port": arguments.metrics_port, "processes": arguments.processes}
    if given := {name: value for name, value in chosen.items() if value is not None}:
        # Through the model, which explains a wrong number.
        settings = WorkerSettings(**(settings.model_dump() | given))
    if settings.process_count > 1 and (arguments.feed or arguments.collect):
        raise ConfigError("--feed and --collect work in one process; leave out 'processes', or run them by themselves")
    return settings


def _log_settings(configured: LogSettings, chosen: LogSettings) -> LogSettings:
    """What the command line says, and where it is silent what the configuration says."""
    of_form = configured if chosen.format is None and chosen.config is None else chosen
    return LogSettings(level=chosen.level or configured.level, format=of_form.format, config=of_form.config)


def _split(option: str, text: str) -> tuple[str, str]:
    queue, equals, path = text.partition("=")
    if not (queue and equals and path):
        raise ConfigError(f"{option} {text}: write {option} QUEUE=FILE")
    return queue, path


def _reject_incomplete(arguments: argparse.Namespace) -> None:
    """Reject a run without work, and options that need other ones.

    Raises:
        ConfigError: an option is missing.
    """
    if not arguments.apps and not (arguments.config is not None and (arguments.feed or arguments.collect)):
        arguments.reject(
            "name an APP to run; or, to run none, give --config FILE and what to --feed or --collect (QUEUE=FILE)"
        )
    for option in ("append", "overwrite"):
        if getattr(arguments, option) and not arguments.collect:
            raise ConfigError(f"--{option} says what to do with the file of --collect QUEUE=FILE; give that, too")


def _reject_shared(feeds: Sequence[str], collects: Sequence[str]) -> None:
    """Reject a queue that is collected twice, and a file that is collected into and also used for something else.

    Raises:
        ConfigError: there is such a queue or file.
    """
    read_from: set[object] = set()
    written: set[object] = set()
    collected: set[str] = set()
    for text in feeds:
        file = _identity(_split("--feed", text)[1])
        if file in read_from and file == "-":
            raise ConfigError(
                f"--feed {text}: standard input is fed into another queue already; give one of them a file"
            )
        read_from.add(file)
    for text in collects:
        queue, path = _split("--collect", text)
        file = _identity(path)
        if queue in collected:
            raise ConfigError(
                f"--collect {text}: queue {queue!r} is collected already, and two would share its messages between "
                f"them; give it once"
            )
        if file != "-" and file in read_from:
            raise ConfigError(
                f"--collect {text}: the file is fed from, and collecting would write into it; give another one"
            )
        if file != "-" and file in written:
            raise ConfigError(f"--collect {text}: another queue is collected into the same file; give another one")
        written.add(file)
        collected.add(queue)


def _identity(path: str) -> object:
    """The identity of a file, whatever its path."""
    if path == "-":
        return path
    try:
        found = Path(path).stat()
    except OSError:
        return Path(path).resolve()
    return found.st_dev, found.st_ino


def _feed(text: str, configuration: Configuration, engines: Sequence[Engine]) -> Feed:
    queue, path = _split("--feed", text)
    return Feed(path, partial(resolved, configuration, queue, "output"), partial(_backlog, queue, engines))


async def _backlog(queue: str, engines: Sequence[Engine]) -> int | None:
    for engine in engines:
        if engine.input_queue == queue and engine.pipeline is not None:
            return await engine.pipeline.lag()
    return None


def _collector(
    text: str, configuration: Configuration, engines: Sequence[Engine], existing: Existing, files: ExitStack
) -> Collector:
    """Open the file of one --collect. All are opened before anything is read from any queue."""
    name, path = _split("--collect", text)
    for engine in engines:
        if engine.input_queue == name:
            raise ConfigError(
                f"--collect {text}: queue {name!r} is the input of engine {engine.app_name!r}, and collecting would "
                f"take its messages; collect one of its outputs"
            )
    collector = Collector(path, resolved(configuration, name, "input").serializer, existing)
    files.callback(collector.close)
    return collector


def _collecting_engine(text: str, configuration: Configuration, collector: Collector) -> Engine:
    name, _path = _split("--collect", text)
    # The queue without serializer and model handler: the collector writes bodies as they are, valid or not.
    given = configuration.queues[name]
    keys = {key: getattr(given, key) for key in given.model_fields_set}
    raw = type(given)(**(keys | {"serializer": None, "model_handler": None, "data_model": None, "batch": True}))
    engine = Engine(name, app_name=f"collect-{name}", batch_size=COLLECT_BATCH)
    engine.configure(replace(load([raw]), for_tool=True))
    engine.stream_app(collector)
    return engine
