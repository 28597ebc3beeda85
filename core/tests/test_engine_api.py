"""The arguments of `Engine` and `Worker`, an engine's name, and typed outputs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from core.tests.engine_fixture import EngineFixture, drain
from pydantic import BaseModel

from penstock import Engine, Output, Worker, connectors
from penstock.errors import ConfigError, PenstockError


class Invoice(BaseModel):
    """What goes out."""

    order: int


# -- the configuration


def test_config_takes_a_file_a_mapping_or_a_list(stand: EngineFixture, tmp_path: Path) -> None:
    """One argument for every form; the two older names stay."""
    options = stand.memory("in").config
    file = tmp_path / "queues.yml"
    file.write_text(f"queues: {{in: {{connector: memory, config: {options}}}}}\n".replace("'", '"'))
    seen: list[int] = []

    for config in (
        file,
        str(file),
        {"queues": {"in": {"connector": "memory", "config": options}}},
        [stand.memory("in")],
    ):
        stand.numbers(1)
        app = Engine("in", config=config)
        app.stream_app(lambda number: seen.append(number))
        drain(app)

    assert seen == [0, 0, 0, 0]


@pytest.mark.parametrize("other", ["queue_config", "yaml_config_path"])
def test_two_configurations_are_rejected(other: str) -> None:
    """The names of both are in the error."""
    with pytest.raises(ConfigError, match=f"^engine 'till': give config or {other}, not both$"):
        Engine("in", app_name="till", config={"in": {}}, **{other: "queues.yml"})  # type: ignore[arg-type]


# -- the engine's name


def test_an_engine_is_named_after_its_function() -> None:
    """So that two engines of one program have metrics of their own."""

    class Till:
        """An object with a method."""

        def close(self, number: int) -> None:
            """A function."""

    def book(number: int) -> None:
        """A function."""

    for function, name in ((book, "book"), (Till().close, "close"), (lambda _number: None, "lambda")):
        app = Engine("in")
        app.stream_app(function)
        assert app.app_name == name


def test_a_name_that_is_given_stays() -> None:
    """Whatever the function is called."""
    app = Engine("in", app_name="till")
    app.stream_app(lambda _number: None)

    assert app.app_name == "till"


def test_two_engines_with_the_same_metrics_are_reported(stand: EngineFixture, caplog: pytest.LogCaptureFixture) -> None:
    """Their metrics are one series, which a user should know; two inputs are two series."""

    def run(*inputs: str) -> list[str]:
        caplog.clear()
        config = [stand.memory(name) for name in set(inputs)]
        engines = [Engine(name, app_name="till", config=config, metrics_port=None) for name in inputs]
        for engine in engines:
            engine.stream_app(lambda _number: None)
        drain(*engines)
        return [text for text in caplog.messages if "the same series" in text]

    with caplog.at_level(logging.WARNING, "penstock"):
        assert run("in", "other") == []
        (text,) = run("in", "in")

    assert text.startswith("engine 'till', queue 'in': another engine of this worker has the same name and input queue")


# -- the worker's settings


def test_a_worker_without_settings_takes_those_of_its_engines(stand: EngineFixture) -> None:
    """The first engine's configuration, with the first port that one of the engines was given."""

    def engine(name: str, **arguments: Any) -> Engine:
        config = {"queues": [stand.memory(name)], "worker": {"shutdown_timeout": 1, "metrics_port": 3001}}
        app = Engine(name, config=config, **arguments)
        app.stream_app(lambda _number: None)
        return app

    first = engine("in")

    assert first.worker_settings([first, engine("b")]).metrics_port == 3001
    assert first.worker_settings([first, engine("b", metrics_port=None)]).metrics_port is None
    assert first.worker_settings([first, engine("b", metrics_port=None), engine("c", metrics_port=7)]).metrics_port == 7

    stand.numbers(2)
    worker = Worker([first, engine("b", metrics_port=None)], drain=True)
    worker.run()

    assert worker.report()["settings"]["shutdown_timeout"] == 1
    assert worker.drained


# -- typed outputs


def test_a_typed_output_declares_its_queue_and_makes_outputs(stand: EngineFixture) -> None:
    """With all that `Output` takes, beside tuples."""
    app = Engine("in", ["audit"], config=[stand.memory("in"), stand.memory("out"), stand.memory("audit")])
    invoices = app.output("out", Invoice)

    @app.stream_app
    def invoice(number: int) -> list[Output | tuple[str, int]]:
        return [invoices(Invoice(order=number), key=str(number)), ("audit", number)]

    stand.numbers(2)
    drain(app)

    assert app.output_queues == ("audit", "out")
    assert stand.bodies("out") == [b'{"order":0}', b'{"order":1}']
    assert stand.bodies("audit") == [b"0", b"1"]


def test_the_model_of_a_typed_output_is_the_queues_data_model(stand: EngineFixture) -> None:
    """An object that is not one, in whatever form it is returned, is a failed call: nothing is sent."""
    app = Engine("in", config=[stand.memory("in"), stand.memory("out")], retry={"max_attempts": 1})
    app.output("out", Invoice)
    app.stream_app(lambda number: ("out", {"total": number}))

    stand.numbers(1)
    with pytest.raises(PenstockError, match="an output for queue 'out': ValueError: expected Invoice, got dict"):
        drain(app)

    assert stand.take("out") == []


def test_an_output_queue_has_one_model() -> None:
    """Declared twice with the same model, it is the same; a dead-letter queue may be an output, too."""
    app = Engine("in", dead_letter_queue="dead")
    app.output("out", Invoice)
    app.output("out", Invoice)
    app.output("dead")

    assert app.output_queues == ("out",)
    with pytest.raises(ConfigError, match=r"^engine 'penstock': output 'out' has another model already"):
        app.output("out", int)


# -- one face for authors


def test_connectors_offers_every_name_that_it_lists() -> None:
    """Also those that are loaded on first use."""
    assert [name for name in connectors.__all__ if getattr(connectors, name, None) is None] == []
    assert connectors.ConnectorOptions.__module__ == "penstock.options"
