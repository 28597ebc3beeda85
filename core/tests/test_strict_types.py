"""A value of the wrong kind is refused with a sentence, never converted and never cut: settings, arguments, options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock import Engine
from penstock.builtin.rate_limit import RateLimit
from penstock.builtin.timeout import Timeout
from penstock.config.files import load
from penstock.config.model import EngineSettings, QueueConfig, Settings, WorkerSettings
from penstock.errors import ConfigError
from penstock.options import ConnectorOptions
from penstock.strict_model import StrictModel

NUMBER = "must be a number, not true or false"
TEXT = "must be text, not true or false (put it in quotes if it is text)"
UNIT = "a number with a unit; write the number alone"
WHOLE = "must be a whole number, not true or false"


def problem(model: type[Settings], **values: Any) -> str:
    """The one problem of some settings, from its key on."""
    with pytest.raises(ConfigError) as caught:
        model(**values)
    (sentence,) = caught.value.problems
    return sentence.partition(": ")[2]


@pytest.mark.parametrize(
    ("model", "key", "value", "said"),
    [
        (WorkerSettings, "metrics_port", True, WHOLE),
        (WorkerSettings, "shutdown_timeout", True, NUMBER),
        (WorkerSettings, "connect_timeout", False, NUMBER),
        (WorkerSettings, "metrics_host", False, TEXT),
        (WorkerSettings, "tune_garbage_collector", 1, "must be true or false, not a number"),
        (WorkerSettings, "metrics_port", 3000.5, "must be a whole number, not a number"),
        (
            WorkerSettings,
            "shutdown_timeout",
            "45s",
            "must be a number, not a number with a unit; write the number alone",
        ),
        (EngineSettings, "concurrency", True, WHOLE),
        (EngineSettings, "batch_size", True, WHOLE),
        (EngineSettings, "max_in_flight", False, WHOLE),
        (EngineSettings, "max_in_flight_bytes", True, "must be a number of bytes, or text like 64MiB"),
        (EngineSettings, "on_invalid", False, "must be 'stop' or 'skip'"),
        (EngineSettings, "delivery", True, "must be 'at_least_once' or 'exactly_once'"),
        (QueueConfig, "batch", 100, "must be true or false, not a number"),
        (QueueConfig, "batch", 0.0, "must be true or false, not a number"),
        (QueueConfig, "value", True, TEXT),
    ],
)
def test_a_value_of_another_kind_is_refused(model: type[Settings], key: str, value: object, said: str) -> None:
    """`on`, `yes` and `true` are not numbers, 1 is not a switch, and a unit is not cut off."""
    name = {"name": "orders"} if model is QueueConfig else {}

    assert problem(model, **name, **{key: value}) == f"{key!r} {said}"


def test_a_nested_value_is_as_strict() -> None:
    """A block under a key has the same rules."""
    assert problem(EngineSettings, retry={"max_attempts": True}) == f"'retry.max_attempts' {WHOLE}"
    assert problem(EngineSettings, retry={"initial_delay": True}) == f"'retry.initial_delay' {NUMBER}"


@pytest.mark.parametrize("size", ["64,000", "1.000.000", "64MiB/s", "64 MiB in all", "1.5", "MiB", "-64MiB", "64 M iB"])
def test_a_size_is_understood_whole_or_refused(size: str) -> None:
    """pydantic reads 64 bytes in "64,000", and 1 in "1.000.000"."""
    said = "'max_in_flight_bytes' must be a number of bytes, or text like 64MiB"

    assert problem(EngineSettings, max_in_flight_bytes=size) == said


@pytest.mark.parametrize(
    ("size", "bytes_"), [("64MiB", 64 * 2**20), ("64 mib", 64 * 2**20), ("1.5kB", 1500), ("64_000", 64_000), (" 7 ", 7)]
)
def test_sizes_that_are_understood(size: str, bytes_: int) -> None:
    """With and without a unit."""
    assert EngineSettings(max_in_flight_bytes=size).max_in_flight_bytes == bytes_


@pytest.mark.parametrize("word", ["off", "no", "false", "Off", '"off"', "none", "null", "${PENSTOCK_TEST_PORT}"])
def test_the_port_is_off_by_each_word_of_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    """YAML reads `off` as false, which is not the port 0: that would open any free one."""
    monkeypatch.setenv("PENSTOCK_TEST_PORT", "off")
    file = tmp_path / "queues.yml"
    file.write_text(f"queues:\n  a:\n    serializer: {word}\nworker:\n  metrics_port: {word}\n")

    configuration = load(file)

    assert configuration.worker.metrics_port is None
    assert configuration.queues["a"].serializer is None


def test_numbers_as_text_are_taken_since_a_variable_gives_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In quotes or from the environment, the same text is the same number."""
    monkeypatch.setenv("PENSTOCK_TEST_CALLS", "8")
    for text in ("${PENSTOCK_TEST_CALLS}", '"8"', "8", "8.0"):
        file = tmp_path / "queues.yml"
        file.write_text(f"queues: {{a: {{connector: memory}}}}\nengine:\n  concurrency: {text}\n")

        assert load(file).engine.concurrency == 8


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"concurrency": True}, f"'concurrency' {WHOLE}"),
        ({"metrics_port": True}, f"'metrics_port' {WHOLE}"),
        ({"metrics_port": 70_000}, "'metrics_port' must be at most 65535"),
        (
            {"metrics_port": "3000x"},
            f"'metrics_port' must be a whole number, not {UNIT}",
        ),
        ({"app_name": 7}, "'app_name' must be text, not a number (put it in quotes if it is text)"),
        (
            {"dead_letter_queue": True},
            "'dead_letter_queue' must be text, not true or false (put it in quotes if it is text)",
        ),
        ({"output_queues": [7]}, "'output_queues[0]' must be text, not a number (put it in quotes if it is text)"),
        ({"input_queue": None}, "'input_queue' must be text, not nothing (null)"),
        ({"retry": {"max_attempts": True}}, f"'retry.max_attempts' {WHOLE}"),
    ],
)
def test_the_arguments_of_an_engine_are_as_strict(arguments: dict[str, Any], said: str) -> None:
    """Where they were written, and not when the engine runs."""
    with pytest.raises(ConfigError) as caught:
        Engine(**{"input_queue": "orders", **arguments})

    assert str(caught.value) == f"the engine: {said}"


def test_the_port_of_an_engine_may_be_off_or_text() -> None:
    """As in a configuration."""
    assert Engine("a", metrics_port=False).metrics_port is None
    assert Engine("a", metrics_port="3001").metrics_port == 3001  # type: ignore[arg-type]


class Block(ConnectorOptions):
    """A block of options, as an author writes it."""

    deep: bool = False


class Options(ConnectorOptions):
    """Options of an author."""

    count: int | None = None
    seconds: float = 1.0
    on: bool | Block = False


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (Options, {"count": True}),
        (Options, {"seconds": False}),
        (Options, {"on": 1}),
        (Options, {"on": {"deep": 1}}),
        (RateLimit, {"per_second": True}),
        (Timeout, {"seconds": True}),
    ],
)
def test_the_options_of_connectors_and_middleware_are_as_strict(model: type[StrictModel], values: Any) -> None:
    """An author declares types and has the rest."""
    with pytest.raises(ValueError, match=r"valid (integer|number|boolean)"):
        model(**values)


def test_the_right_kinds_of_options_are_taken() -> None:
    """Text from the environment, too."""
    options = Options(count="7", seconds=2, on={"deep": "yes"})  # type: ignore[arg-type]

    assert (options.count, options.seconds, options.on) == (7, 2.0, Block(deep=True))
