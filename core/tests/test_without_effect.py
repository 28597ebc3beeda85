"""Options that are set and cannot matter are told, at the start as by `penstock check`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from core.tests.acme import AcmeConsumer

from penstock.capabilities import Capabilities
from penstock.cli.main import main
from penstock.config.model import EngineSettings, WorkerSettings
from penstock.config.without_effect import (
    engine_options_without_effect,
    notes_on_outputs,
    worker_options_without_effect,
)
from penstock.standalone import resolve


class NotCounting(AcmeConsumer):
    """A connector of one's own that says nothing."""


class Counting(AcmeConsumer):
    """One that counts."""

    capabilities = Capabilities(redelivery_count=True)


@pytest.mark.parametrize(
    ("settings", "dead_letters", "counted", "said"),
    [
        ({}, False, False, None),
        ({"on_invalid": "skip"}, False, True, None),
        ({"on_invalid": "skip"}, True, True, "'on_invalid' has no effect"),
        ({"retry": {"max_deliveries": 5}}, True, True, None),
        ({"retry": {"max_deliveries": 5}}, False, True, "it needs a dead-letter queue"),
        ({"retry": {"max_deliveries": 5}}, True, False, "it needs a connector that counts deliveries"),
        ({"retry": {"initial_delay": 1}}, True, True, None),
        ({"retry": {"initial_delay": 1, "max_attempts": 1}}, True, True, "'retry.initial_delay': without effect"),
        ({"retry": {"max_attempts": 1}}, True, True, None),
        ({"batch_size": 500, "max_in_flight": 100}, True, True, "beyond 'max_in_flight', which is 100"),
        ({"max_in_flight": 100}, True, True, None),
    ],
)
def test_an_option_of_an_engine_without_effect(
    settings: dict[str, Any], dead_letters: bool, counted: bool, said: str | None
) -> None:
    """Only what was given is told, never a default."""
    connector = {"consumer": Counting if counted else NotCounting}
    source = resolve(connector, "input")
    found = engine_options_without_effect(EngineSettings(**settings), source, dead_letters=dead_letters)

    assert [said in each if said else each for each in found] == ([True] if said else [])


@pytest.mark.parametrize(
    ("delivery", "retry", "told"),
    [("exactly_once", True, True), ("at_least_once", True, False), ("exactly_once", False, False)],
)
def test_retries_of_an_output_without_effect(delivery: str, retry: bool, told: bool) -> None:
    """With exactly once the output's own connection is not used."""
    more: dict[str, Any] = {"retry": {"max_attempts": 3}} if retry else {}
    target = resolve({"profile": "memory", **more}, "output")

    found = list(notes_on_outputs(EngineSettings(delivery=delivery), [target], None))

    assert bool(found) == told
    assert all("'retry' of queue" in each and "exactly_once" in each for each in found)


def test_an_option_of_a_worker_without_effect() -> None:
    """Routes need a port."""
    assert list(worker_options_without_effect(WorkerSettings(routes=["lag"]))) == []
    [told] = worker_options_without_effect(WorkerSettings(routes=["lag"], metrics_port="off"))
    assert told == "'routes' has no effect: 'metrics_port' is off"


def test_the_start_and_a_check_tell_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As a note of the engine, and as a warning of the log."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    Path("useless.py").write_text(
        "from penstock import Engine\n"
        "app = Engine('a', app_name='till', dead_letter_queue='d', on_invalid='skip', metrics_port=None,\n"
        "             config={'a': {'connector': 'memory'}, 'd': {'profile': 'memory-dlq'}})\n"
        "@app.stream_app\ndef f(m): ...\n"
    )
    told = "'on_invalid' has no effect: messages that are not valid go to the dead-letter queue"

    assert main(["check", "useless.py"]) == 0
    assert f"  note: {told}" in capsys.readouterr().out
    assert main(["run", "useless.py", "--drain"]) == 0
    assert f"engine 'till': {told}" in caplog.text + capsys.readouterr().err
