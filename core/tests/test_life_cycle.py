"""What a stop waits for stands in the log, and again while it takes long."""

from __future__ import annotations

import asyncio
import threading

import pytest
from core.tests.engine_fixture import EngineFixture, running, until


def test_a_stop_says_what_it_waits_for_again_and_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine, how many messages its function has, and for how long."""
    monkeypatch.setattr("penstock.worker.life_cycle.STILL_EVERY", 0.05)
    caplog.set_level("INFO", "penstock")
    fixture = EngineFixture()
    fixture.numbers(1)
    begun, end = threading.Event(), threading.Event()

    def function(number: int) -> None:
        begun.set()
        end.wait(10)

    async def main() -> None:
        async with running(fixture.engine(function, [], app_name="till")) as run:
            await until(begun.is_set)
            run.worker.stop()
            await until(lambda: caplog.text.count("still stopping after") >= 2)
            end.set()
            await run.ended()

    asyncio.run(main())

    waits = "engine 'till' waits for the function, which has 1 message, the oldest for "
    assert f"stopping: {waits}" in caplog.text
    still = [text for text in caplog.messages if text.startswith("still stopping after ")]
    assert all(waits in text for text in still[:2])
    assert caplog.messages[-1] == "engine 'till', queue 'in': 1 received, 1 succeeded"
