"""`Engine`: what it refuses where it is written, and that it touches nothing that is not its own."""

from __future__ import annotations

import asyncio
import copy
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from core.tests.engine_fixture import EngineFixture, drain
from core.tests.scripted import ScriptedProducer, Sink, Source

from penstock.config.model import QueueConfig
from penstock.connectors import BlockingProducer
from penstock.engine import Engine
from penstock.errors import CapabilityError, ConfigError, FunctionError, ProduceError
from penstock.message import Record
from penstock.observability.exposition import MetricsRegistry
from penstock.observability.health import Health
from penstock.retry import RetryPolicy


def nothing(message: Any) -> None:
    """A function."""


# -- the decorated function


def test_the_decorated_function_is_callable_as_itself(stand: EngineFixture) -> None:
    """For tests of the function: same arguments, same result, no engine."""
    app = Engine("in", queue_config=[])

    @app.stream_app
    def double(number: int, factor: int = 2) -> list[tuple[str, int]]:
        """Twice."""
        return [("out", number * factor)]

    assert double(4) == [("out", 8)]
    assert double(4, factor=3) == [("out", 12)]
    assert double(number=1) == [("out", 2)]
    name = double.__name__  # type: ignore[attr-defined]
    assert (name, double.__doc__, double.engine) == ("double", "Twice.", app)


def test_a_decorated_coroutine_function_is_callable_as_itself() -> None:
    """It returns the coroutine, for the caller to await."""
    app = Engine("in", queue_config=[])

    @app.stream_app
    async def double(number: int) -> int:
        return number * 2

    assert asyncio.run(double(4)) == 8


def test_called_with_nothing_it_runs_its_engine(stand: EngineFixture) -> None:
    """`main()` at the end of an app: until it fails, here, or a signal."""
    app = Engine("in", queue_config=[stand.memory("in")], metrics_port=None)
    seen: list[int] = []

    @app.stream_app
    def main(number: int) -> None:
        seen.append(number)

    stand.put(b"1", b"no json")

    with pytest.raises(Exception, match="the body is not valid json"):
        main()

    assert seen == [1]


def test_a_second_function_is_refused() -> None:
    """One engine, one function; the message names both."""
    app = Engine("in", app_name="till", queue_config=[])
    app.stream_app(nothing)

    with pytest.raises(FunctionError) as caught:
        app.stream_app(lambda message: None)  # noqa: ARG005

    assert str(caught.value) == (
        "engine 'till' already runs nothing; make another Engine for "
        "test_a_second_function_is_refused.<locals>.<lambda>"
    )


def test_an_engine_without_a_function_says_so(stand: EngineFixture) -> None:
    """When it is to run, not before."""
    with pytest.raises(FunctionError) as caught:
        drain(Engine("in", app_name="till", queue_config=[stand.memory("in")]))

    assert str(caught.value) == ("engine 'till' (input queue 'in') has no function; decorate one with @app.stream_app")


@pytest.mark.parametrize(
    "function",
    [lambda: None, lambda a, b: None, lambda *, message: None, lambda msg_ctx: None],  # noqa: ARG005
)
def test_a_function_of_the_wrong_arity_is_refused_where_it_is_decorated(function: Any) -> None:
    """The mistake is shown at the line that made it."""
    with pytest.raises(FunctionError, match="cannot be a stream_app: it must take one message"):
        Engine("in", queue_config=[]).stream_app(function)


# -- what an engine refuses


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"yaml_config_path": "q.yml", "queue_config": []}, "give queue_config or yaml_config_path, not both"),
        ({"output_queues": "out"}, "engine 'till': output_queues is a list of names; write ['out']"),
        ({"concurrency": 0}, "'concurrency' must be at least 1"),
        ({"batch_size": "many"}, "'batch_size' must be a whole number, not this text"),
        ({"max_in_flight": 1.5}, "'max_in_flight' must be a whole number"),
        ({"max_in_flight_bytes": "1 parsec"}, "'max_in_flight_bytes' must be a number of bytes, or text like 64MiB"),
        ({"on_invalid": "panic"}, "'on_invalid' must be 'stop' or 'skip'"),
        ({"delivery": "maybe"}, "'delivery' must be 'at_least_once' or 'exactly_once'"),
        ({"retry": {"max_atempts": 2}}, "did you mean 'max_attempts'?"),
        ({"retry": {"max_attempts": 0}}, "'retry.max_attempts' must be at least 1"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)  # fmt: skip
def test_an_impossible_setting_is_refused_where_it_is_written(arguments: dict[str, Any], text: str) -> None:
    """Not when the worker starts."""
    with pytest.raises(ConfigError) as caught:
        Engine("in", **{"app_name": "till", "queue_config": [], **arguments})

    assert text in str(caught.value)


def test_all_problems_of_all_queues_come_at_once(stand: EngineFixture) -> None:
    """One start shows them all."""
    app = Engine(
        "in", ["out", "nowhere"], dead_letter_queue="dead", queue_config=[{"name": "in", "connector": "kafak"}]
    )
    app.stream_app(nothing)

    with pytest.raises(ConfigError) as caught:
        drain(app)

    assert len(caught.value.problems) == 4
    for name in ("'in'", "'out'", "'nowhere'", "'dead'"):
        assert any(name in problem for problem in caught.value.problems)


def test_exactly_once_is_refused_where_it_cannot_be(stand: EngineFixture) -> None:
    """A promise that would not be kept is not made."""
    with pytest.raises(CapabilityError) as caught:
        drain(stand.engine(nothing, [], delivery="exactly_once"))

    assert str(caught.value) == (
        "queue 'in': connector 'memory' has no 'transactions', needed by delivery: exactly_once of engine "
        "'penstock'; use delivery: at_least_once, or a connector that has them"
    )


# -- settings


def test_an_engines_own_settings_win_over_the_configurations(stand: EngineFixture) -> None:
    """Each by itself; the others stay."""
    source = Source([b"%d" % number for number in range(10)])
    configuration = {
        "queues": {"in": {"consumer": source.queue().consumer, "config": {"script": source}}},
        "engine": {"max_in_flight": 7, "batch_size": 3},
    }
    app = Engine("in", queue_config=configuration, batch_size=2)
    app.stream_app(nothing)

    drain(app)

    assert max(source.asked) == 2
    assert len(source.settled()) == 10


@pytest.mark.parametrize("retry", [{"max_attempts": 1}, RetryPolicy(max_attempts=1)], ids=["mapping", "object"])
def test_the_retry_policy_is_a_mapping_or_an_object(stand: EngineFixture, retry: Any) -> None:
    """Both mean the same."""
    calls: list[int] = []

    def fail(number: int) -> None:
        calls.append(number)
        raise LookupError

    stand.numbers(1)

    drain(stand.engine(fail, retry=retry, dead_letters=True))

    assert calls == [0]


def test_a_configuration_given_later_replaces_the_engines_own(stand: EngineFixture) -> None:
    """What `penstock run --config` does."""
    app = Engine("in", yaml_config_path="/no/where.yml")
    seen: list[int] = []
    app.stream_app(seen.append)
    stand.numbers(2)

    app.configure([stand.memory("in")])
    drain(app)

    assert seen == [0, 1]


def test_the_configuration_is_read_when_the_engine_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`penstock.yml` where one stands, if nothing else is named; a missing one is an error then, not at import."""
    monkeypatch.chdir(tmp_path)
    app = Engine("in")
    app.stream_app(nothing)

    with pytest.raises(ConfigError) as caught:
        drain(app)
    assert str(caught.value) == "penstock.yml: there is no such file"

    (tmp_path / "penstock.yml").write_text("queues:\n  in:\n    connector: memory\n    config: {namespace: reads}\n")
    drain(app)


def test_a_metrics_port_of_its_own_wins(stand: EngineFixture) -> None:
    """None is none; not given is what the configuration says."""
    configuration = {"queues": {"in": {"connector": "memory"}}, "worker": {"metrics_port": 4000}}

    assert Engine("in", queue_config=configuration).worker_settings().metrics_port == 4000
    assert Engine("in", queue_config=configuration, metrics_port=None).worker_settings().metrics_port is None
    assert Engine("in", queue_config=configuration, metrics_port=0).worker_settings().metrics_port == 0


def test_a_run_tells_what_is_wrong_with_worker_and_queues_at_once() -> None:
    """What is missing under `worker` hides nothing of the queues."""
    configuration = {"queues": {"in": {"connector": "memroy"}}, "worker": {"metrics_host": "${PENSTOCK_NO_SUCH}"}}
    app = Engine("in", ["out"], queue_config=configuration)
    app.stream_app(nothing)

    with pytest.raises(ConfigError) as caught:
        app.run()

    worker, source, target = caught.value.problems
    assert "PENSTOCK_NO_SUCH" in worker
    assert "memroy" in source
    assert "queue 'out' is not in the configuration" in target
    assert tuple(map(str, app.problems())) == caught.value.problems


def test_a_dead_letter_queue_that_takes_not_every_body_is_refused(stand: EngineFixture) -> None:
    """At the start, and not when the first message fails."""

    class Rows(ScriptedProducer):
        any_body = False

    class BlockingRows(BlockingProducer):
        any_body = False

        def connect(self) -> None: ...
        def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
            return [None] * len(records)

        def shutdown(self) -> None: ...

    for producer in (Rows, BlockingRows):
        rows = Sink().queue("dead", producer=producer)
        told = "dead_letter_queue='dead' does not take every message .* name another queue"
        with pytest.raises(ConfigError, match=told):
            drain(stand.engine(nothing, [], targets=[rows], dead_letters=True))
        # As an output it is a queue like any other.
        drain(stand.engine(nothing, ["dead"], targets=[rows]))


@pytest.mark.parametrize("other", ["dead", "back"])
def test_a_dead_letter_queue_that_is_the_input_queue_is_refused(stand: EngineFixture, other: str) -> None:
    """By its name, or by what the name means to the backend: a bad message would feed itself for ever."""
    queues = [stand.memory("in"), stand.memory("back", value="in"), stand.memory("dead")]
    name = {"dead": "in", "back": "back"}[other]
    app = Engine("in", app_name="till", dead_letter_queue=name, queue_config=queues)
    app.stream_app(nothing)

    with pytest.raises(ConfigError) as caught:
        drain(app)

    also = ", which is input queue 'in' under another name" if name == "back" else ""
    assert str(caught.value) == (
        f"engine 'till': dead_letter_queue={name!r} is where its messages come from{also}: a message that fails would "
        "be fed to the function for ever; name another queue, or none"
    )


def test_an_output_queue_may_be_the_input_queue(stand: EngineFixture) -> None:
    """A circle that the function itself ends is its own affair."""
    app = Engine("in", ["in"], queue_config=[stand.memory("in")])
    seen: list[int] = []

    @app.stream_app
    def down(number: int) -> list[tuple[str, int]]:
        seen.append(number)
        return [("in", number - 1)] if number else []

    stand.put(b"3")
    drain(app)

    assert seen == [3, 2, 1, 0]


# -- nothing global, nothing mutated


def test_making_and_running_an_engine_changes_nothing_that_was_given(stand: EngineFixture) -> None:
    """The configuration, lists and mappings are the caller's."""
    queues = [{"name": "in", "connector": "memory", "config": {"namespace": "given"}}, stand.memory("out")]
    outputs, retry = ["out"], {"max_attempts": 2}
    before = copy.deepcopy((queues, outputs, retry))

    app = Engine("in", outputs, queue_config=queues, retry=retry, dead_letter_queue="out")
    app.stream_app(nothing)
    drain(app)

    assert (queues, outputs, retry) == before


def test_a_configuration_of_nested_data_is_not_changed(stand: EngineFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by variables that are filled in, either."""
    monkeypatch.setenv("THE_NAMESPACE", "filled")
    given = {"queues": {"in": {"connector": "memory", "config": {"namespace": "${THE_NAMESPACE}"}}}, "engine": {}}
    before = copy.deepcopy(given)

    app = Engine("in", queue_config=given)
    app.stream_app(nothing)
    drain(app)

    assert given == before


def test_two_engines_share_one_configuration(stand: EngineFixture) -> None:
    """The same objects, at the same time."""
    configuration = [stand.memory("in"), stand.memory("between"), stand.memory("out")]
    first = Engine("in", ["between"], app_name="first", queue_config=configuration)
    second = Engine("between", ["out"], app_name="second", queue_config=configuration)
    first.stream_app(lambda number: ("between", number + 1))
    second.stream_app(lambda number: ("out", number * 10))
    stand.numbers(3)

    drain(first, second)

    assert stand.bodies() == [b"10", b"20", b"30"]


def test_an_engine_can_run_again(stand: EngineFixture) -> None:
    """Each run opens its queues anew."""
    source, sink = Source([b"1"]), Sink()
    app = stand.engine(lambda number: ("out", number), source=source.queue(), targets=[sink.queue()])

    drain(app)
    source.add(b"2")
    drain(app)

    assert sink.bodies == [b"1", b"2"]
    assert (source.count("connect"), source.count("shutdown")) == (2, 2)


def test_starting_builds_and_connects_nothing(stand: EngineFixture) -> None:
    """`start` makes connectors, `run` opens them; no thread is begun for what never runs."""
    source = Source()
    before = set(threading.enumerate())

    async def main() -> None:
        stand.engine(nothing, [], source=source.queue()).start(Health(), MetricsRegistry())

    asyncio.run(main())

    assert source.calls == []
    assert set(threading.enumerate()) <= before


NOTHING_GLOBAL = """
import builtins, logging, os, signal, socket, sys, threading

handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
levels = (logging.root.level, list(logging.root.handlers), logging.getLogger("penstock").level)
environment = dict(os.environ)
hook = sys.excepthook
opened = []
def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and not arguments[0].endswith((".py", ".pyc", ".so", "/")):
        opened.append(arguments[0])
    elif event.startswith(("socket.", "subprocess.", "os.system", "os.fork")):
        opened.append(event)

import pydantic, pluggy, yaml, orjson  # what they do is theirs
sys.addaudithook(watch)

import penstock
from penstock import Engine, QueueConfig

app = Engine(
    "in", ["out"], dead_letter_queue="out", yaml_config_path="queues.yml", concurrency=3, retry={"max_attempts": 2}
)

@app.stream_app
def main(message):
    return ("out", message)

assert main({}) == ("out", {})
files = [name for name in opened if "importlib" not in name]
print("opened", [name for name in files if "site-packages" not in name and "/lib/python" not in name])
print("threads", threading.active_count())
print("signals", handlers == {number: signal.getsignal(number) for number in handlers})
print("logging", levels == (logging.root.level, list(logging.root.handlers), logging.getLogger("penstock").level))
print("environment", environment == dict(os.environ))
print("excepthook", hook is sys.excepthook)
print("prometheus", "prometheus_client" in sys.modules)
print("plugins", sorted(name for name in sys.modules if name.startswith("penstock_")))
"""


def test_importing_penstock_and_making_an_engine_touches_nothing_global(tmp_path: Path) -> None:
    """No file, no thread, no signal handler, no logger, no variable, no client of metrics, no plugin."""
    (tmp_path / "app.py").write_text(NOTHING_GLOBAL)

    result = subprocess.run(
        [sys.executable, "app.py"], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False
    )

    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        "opened []",
        "threads 1",
        "signals True",
        "logging True",
        "environment True",
        "excepthook True",
        "prometheus False",
        "plugins []",
    ]


def test_running_an_engine_registers_nothing_with_the_default_prometheus_registry(stand: EngineFixture) -> None:
    """An application's own metrics, and two engines of one name, cannot collide with ours."""
    from prometheus_client import REGISTRY, generate_latest

    before = {family.name for family in REGISTRY.collect()}
    stand.numbers(1)
    worker = drain(stand.engine(nothing, []), stand.engine(nothing, []))
    worker.metrics.exposition()

    assert {family.name for family in REGISTRY.collect()} == before
    assert b"penstock" not in generate_latest(REGISTRY)


def test_a_queue_config_object_is_the_same_as_a_mapping(stand: EngineFixture) -> None:
    """`QueueConfig(...)`, a list of mappings, a mapping by name."""
    namespace = stand.memory("in").config
    forms: list[Any] = [
        [QueueConfig(name="in", connector="memory", config=namespace)],
        [{"name": "in", "connector": "memory", "config": namespace}],
        {"in": {"connector": "memory", "config": namespace}},
        {"queues": [{"name": "in", "connector": "memory", "config": namespace}]},
    ]
    seen: list[int] = []
    for form in forms:
        stand.numbers(1)
        app = Engine("in", queue_config=form)
        app.stream_app(lambda number: seen.append(number))
        drain(app)

    assert seen == [0, 0, 0, 0]
