"""Failures of one kind are told once, with their way into the program, then counted."""

from __future__ import annotations

import asyncio
import logging

import pytest
from core.tests.engine_fixture import EngineFixture, drain, running, until, warnings_in

from penstock.observability.printable import trace


def failing(number: int) -> None:
    """Two kinds by their place, although their type is the same."""
    if number % 2:
        raise ValueError("odd")
    raise ValueError("even")


def test_a_kind_is_told_once_and_then_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By type and place; the count comes although nothing fails any more, and the traceback once."""
    monkeypatch.setattr("penstock.pipeline.failure_log.COUNT_INTERVAL", 0.3)
    fixture = EngineFixture()
    fixture.numbers(2)
    engine = fixture.engine(failing, [], dead_letters=True, retry={"max_attempts": 1}, app_name="till")

    async def main() -> None:
        async with running(engine):
            await until(lambda: len(warnings_in(caplog.records)) == 2)
            fixture.numbers(20)
            await until(lambda: len(warnings_in(caplog.records)) == 4)

    asyncio.run(main())

    first, second, *counted = warnings_in(caplog.records)
    assert {line.rpartition("failure_log.py:")[2] for line in (first, second)} == {"17)", "18)"}
    assert all("engine 'till': 10 more messages failed at function in the last minute, " in line for line in counted)
    assert caplog.text.count("Traceback") == 2


def test_a_traceback_has_no_frame_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    """The program's stay, also those of what led to the error, for every formatter: in `exc_info` and in the text."""

    def find(number: int) -> None:
        raise KeyError(number)

    def function(number: int) -> None:
        try:
            find(number)
        except KeyError as error:
            raise LookupError("no such customer") from error

    fixture = EngineFixture()
    fixture.numbers(1)
    drain(fixture.engine(function, [], dead_letters=True, retry={"max_attempts": 1}))

    (record,) = [each for each in caplog.records if each.exc_info]
    shown = (record.exc_text or "", logging.Formatter().formatException(record.exc_info))  # type: ignore[arg-type]
    for text in shown:
        assert "src/penstock/" not in text
        assert text.count("test_failure_log.py") == 3
        assert text.index("KeyError: 0") < text.index("LookupError: no such customer")


def test_a_bug_of_ours_keeps_its_frames() -> None:
    """Without frames of a program there is nothing else to show."""
    from penstock.backoff import Backoff

    with pytest.raises(TypeError) as raised:
        Backoff(initial="x").delay(1)  # type: ignore[arg-type]

    only_ours = raised.value.__traceback__ and raised.value.__traceback__.tb_next
    assert "backoff.py" in trace(raised.value.with_traceback(only_ours))
