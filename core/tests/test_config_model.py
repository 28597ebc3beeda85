"""The typed model: strict about keys, clear about values, silent about secrets."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.config.files import load
from penstock.config.model import EngineSettings, PluginSettings, QueueConfig, WorkerSettings
from penstock.config.resolve import problems_of
from penstock.errors import ConfigError, PenstockError
from penstock.retry import RetryPolicy


def problems(error: pytest.ExceptionInfo[ConfigError]) -> list[str]:
    """The sentences of an error."""
    return list(error.value.problems)


def test_an_unknown_key_is_refused_with_the_nearest_one() -> None:
    """The misspelling of the reference's own manual is named and mended."""
    with pytest.raises(ConfigError) as error:
        QueueConfig(name="orders", model_hander="pydantic")  # type: ignore[call-arg]

    assert problems(error) == ["queue 'orders': 'model_hander' is not a key of a queue; did you mean 'model_handler'?"]


def test_an_unknown_key_that_is_like_none_is_refused_with_the_list() -> None:
    """Who is far off sees what there is."""
    with pytest.raises(ConfigError) as error:
        WorkerSettings(zzz=1)  # type: ignore[call-arg]

    assert problems(error) == [
        "the worker: 'zzz' is not a key of the worker; "
        "its keys are 'metrics_host', 'metrics_port', 'connect_timeout', 'shutdown_timeout', 'processes', "
        "'tune_garbage_collector', 'routes', 'log'"
    ]


def test_a_key_inside_of_a_section_is_named_in_full() -> None:
    """A nested key is shown with its way, and the suggestion comes from the nested section."""
    with pytest.raises(ConfigError) as error:
        EngineSettings(retry={"max_attemps": 3})

    assert problems(error) == [
        "the engine: 'retry.max_attemps' is not a key of 'retry' of the engine; did you mean 'max_attempts'?"
    ]


def test_wrong_types_are_told_together_and_without_their_values() -> None:
    """Every wrong value is named by its key, what it must be and what kind of thing it is; never by itself."""
    with pytest.raises(ConfigError) as error:
        EngineSettings(
            max_in_flight="hunter2",
            max_in_flight_bytes="hunter2",
            batch_size=0,
            concurrency=1.5,
            on_invalid="hunter2",
            delivery=None,
            retry=[],
        )

    assert problems(error) == [
        "the engine: 'max_in_flight' must be a whole number, not this text",
        "the engine: 'max_in_flight_bytes' must be a number of bytes, or text like 64MiB",
        "the engine: 'batch_size' must be at least 1",
        "the engine: 'concurrency' must be a whole number, not a number",
        "the engine: 'retry' must be a mapping, not a list",
        "the engine: 'on_invalid' must be 'stop' or 'skip'",
        "the engine: 'delivery' must be 'at_least_once' or 'exactly_once'",
    ]
    assert error.value.__cause__ is None


def test_text_that_yaml_took_for_a_number_gets_the_hint_about_quotes() -> None:
    """`value: 123` in YAML is a number; the error says how to make it text."""
    with pytest.raises(ConfigError) as error:
        QueueConfig(name="orders", value=123, serializer=["json"])

    assert problems(error) == [
        "queue 'orders': 'value' must be text, not a number (put it in quotes if it is text)",
        "queue 'orders': 'serializer' must be text or a class, not a list",
    ]


@pytest.mark.parametrize(
    ("value", "name"), [(None, "orders"), ("a", "a"), (["a"], "a"), (("a", "^b.*"), "a,^b.*"), ("a, b", "a, b")]
)
def test_a_value_may_be_a_list_of_names(value: Any, name: str) -> None:
    """The connector gets them with commas between them."""
    assert QueueConfig(name="orders", value=value).backend_name == name


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ([], "'value' must be at least 1 entries long"),
        (["a", 7], "'value[1]' must be text, not a number (put it in quotes if it is text)"),
        (["a,b"], "'value[0]': a name in a list has no comma; write each name as an item of its own"),
    ],
)
def test_a_wrong_list_of_names_is_refused(value: Any, problem: str) -> None:
    """With the item."""
    with pytest.raises(ConfigError) as error:
        QueueConfig(name="orders", value=value)

    assert problems(error) == [f"queue 'orders': {problem}"]


def test_a_list_is_refused_where_the_connector_reads_one_place() -> None:
    """Before it would look for a place with a comma in its name."""
    configuration = load([QueueConfig(name="orders", connector="memory", value=["a", "b"])])

    found = problems_of(configuration, [], [("orders", "input")])

    assert [each.text for each in found] == [
        "'value' is a list, but this connector reads one place; make a queue for each, or write one name as text"
    ]


@pytest.mark.parametrize("word", [None, "none", "None", "NONE", "disabled", "Disabled", " none "])
@pytest.mark.parametrize("key", ["serializer", "model_handler", "data_model"])
def test_a_stage_is_turned_off_by(key: str, word: str | None) -> None:
    """None and the two words, in any case, turn a stage off, which differs from saying nothing."""
    queue = QueueConfig(name="orders", **{key: word})

    assert getattr(queue, key) is None
    assert queue.given(key)
    assert not QueueConfig(name="orders").given(key)


def test_classes_and_dotted_paths_may_be_mixed() -> None:
    """A class, a path and any type stand where the model takes them, untouched."""

    class Mine:
        pass

    queue = QueueConfig(name="orders", consumer=Mine, producer="my.module.Producer", data_model=list[int])

    assert (queue.consumer, queue.producer, queue.data_model) == (Mine, "my.module.Producer", list[int])


def test_an_empty_config_key_is_an_empty_mapping() -> None:
    """`config:` with all lines below it commented out is not an error."""
    assert QueueConfig(name="orders", config=None).config == {}


def test_a_repr_has_no_options() -> None:
    """A queue ends in logs and tracebacks; its options may hold passwords."""
    assert "hunter2" not in repr(QueueConfig(name="orders", config={"password": "hunter2"}))


def test_settings_cannot_be_changed() -> None:
    """What was checked stays what it was."""
    settings = EngineSettings()

    with pytest.raises(ValueError, match="frozen"):
        settings.batch_size = 0  # type: ignore[misc]


def test_text_from_the_environment_becomes_numbers() -> None:
    """`"${PORT:-3000}"` stays text until here."""
    worker = WorkerSettings(metrics_port="3001", shutdown_timeout="2.5")

    assert (worker.metrics_port, worker.shutdown_timeout) == (3001, 2.5)
    assert EngineSettings(max_in_flight_bytes="2MiB").max_in_flight_bytes == 2 * 1024 * 1024
    assert QueueConfig(name="a", batch="true").batch is True


@pytest.mark.parametrize("word", [None, "none", "disabled"])
def test_the_endpoint_is_turned_off_like_a_stage(word: str | None) -> None:
    """The same words mean "off" everywhere."""
    assert WorkerSettings(metrics_port=word).metrics_port is None


def test_a_port_must_exist() -> None:
    """A port past the last one is refused with the limit."""
    with pytest.raises(ConfigError) as error:
        WorkerSettings(metrics_port=70_000)

    assert problems(error) == ["the worker: 'metrics_port' must be at most 65535"]


def test_a_plugin_cannot_be_both_allowed_and_blocked() -> None:
    """Two lists that contradict each other are refused, rather than one of them winning in silence."""
    with pytest.raises(ConfigError) as error:
        PluginSettings(allow=["a", "b"], block=["b"])

    assert problems(error) == ["the plugins: 'b' stands both in 'allow' and in 'block'; take it out of one"]


def test_the_defaults_are_the_safe_ones() -> None:
    """Nothing is skipped in silence, memory is bounded, the endpoint is for this machine only."""
    assert EngineSettings().on_invalid == "stop"
    assert EngineSettings().delivery == "at_least_once"
    assert EngineSettings().max_in_flight == 10_000
    assert EngineSettings().retry == RetryPolicy()
    assert WorkerSettings().metrics_host == "127.0.0.1"
    assert PluginSettings().allow is None


def test_a_refusal_is_an_error_of_ours() -> None:
    """`except PenstockError` catches what the models raise."""
    with pytest.raises(PenstockError):
        QueueConfig()  # type: ignore[call-arg]
