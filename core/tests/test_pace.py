"""How fast an engine fetches, and how long a list of messages may wait to be full."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from penstock.config.model import EngineSettings
from penstock.engine import Engine
from penstock.errors import ConfigError
from penstock.testing import Harness

from .engine_fixture import EngineFixture, drain, running, until, warnings_in


def harness_engine(function: Any = None, *, batch: bool = False, **settings: Any) -> Engine:
    """An engine from "in" to nothing."""
    app = Engine("in", queue_config={"in": {"connector": "memory", "batch": batch}}, **settings)
    app.stream_app(function or (lambda _number: None))
    return app


# -- rate and frequency


@pytest.mark.parametrize(("text", "rate"), [("10/s", 10), ("600/m", 10), ("3600/h", 1), ("0.5 / s", 0.5)])
def test_a_rate_is_read_from_text(text: str, rate: float) -> None:
    """By the second, the minute or the hour."""
    assert EngineSettings(rate=text).rate == rate  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", ["10/s", 10, "600/m"])
def test_messages_come_at_the_rate_of_the_engine(rate: Any) -> None:
    """As with the middleware `rate_limit`."""
    with Harness(harness_engine(rate=rate)) as harness:
        for number in range(21):
            harness.send("in", number)
        harness.run()

        assert harness.succeeded == 21
        assert 1.88 <= harness.elapsed <= 2.4


@pytest.mark.parametrize("rate", ["10 per second", "10", "10/d", "-1/s", "0/s", 0, "10MB", True])
def test_a_wrong_rate_is_refused(rate: Any) -> None:
    """With what to write."""
    with pytest.raises(ConfigError, match="'rate' must be"):
        harness_engine(rate=rate)


def test_one_fetch_comes_every_so_often() -> None:
    """Each brings `batch_size` messages at most: the `frequency` and `max_chunk_size` of Romeways."""
    sizes: list[int] = []
    with Harness(
        harness_engine(lambda batch: sizes.append(len(batch)), batch=True, frequency=5, batch_size=4)
    ) as harness:
        for number in range(10):
            harness.send("in", number)
        harness.run()

        assert sizes == [4, 4, 2]
        assert 10 <= harness.elapsed <= 16  # it looks once more, and finds nothing


# -- lists that wait to be full


def collecting(sizes: list[int], *, is_async: bool) -> Any:
    """A function that takes lists."""

    def collect(batch: list[Any]) -> None:
        sizes.append(len(batch))

    async def collect_async(batch: list[Any]) -> None:
        sizes.append(len(batch))

    return collect_async if is_async else collect


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_list_waits_until_it_is_full(stand: EngineFixture, is_async: bool, concurrency: int) -> None:
    """Messages that come one by one go on together; what is left waits for the rest of its time."""

    async def main() -> None:
        sizes: list[int] = []
        app = Engine(
            "in",
            queue_config=[stand.memory("in", batch=True)],
            batch_wait=1.5,
            batch_size=5,
            concurrency=concurrency,
        )
        app.stream_app(collecting(sizes, is_async=is_async))
        async with running(app):
            for number in range(7):
                await asyncio.to_thread(stand.put, str(number).encode())
                await asyncio.sleep(0.02)
            await until(lambda: sizes, "the first list")
            assert sizes == [5]
            await until(lambda: len(sizes) == 2, "the second list")
        assert sizes == [5, 2]

    asyncio.run(main())


def test_a_full_list_does_not_wait(stand: EngineFixture) -> None:
    """Nor does a drain, for messages that will not come."""
    stand.numbers(1_005)
    sizes: list[int] = []
    app = Engine("in", queue_config=[stand.memory("in", batch=True)], batch_wait=3_000.0, batch_size=100)
    app.stream_app(collecting(sizes, is_async=False))

    drain(app)

    assert sum(sizes) == 1_005
    assert max(sizes) == 100


def test_what_waits_when_the_engine_stops_is_requeued(stand: EngineFixture) -> None:
    """It was not given to the function, and is not lost."""

    async def main() -> None:
        sizes: list[int] = []
        app = Engine("in", queue_config=[stand.memory("in", batch=True)], batch_wait=3_000.0, batch_size=100)
        app.stream_app(collecting(sizes, is_async=False))
        async with running(app):
            await asyncio.to_thread(stand.numbers, 3)
            await until(lambda: app.pipeline and app.pipeline.executor.waiting == 3, "three messages wait")
        assert not sizes

    asyncio.run(main())
    assert len(stand.take("in")) == 3


# -- a function that fails for good


def failing(number: Any) -> None:
    """Fails for one of the messages."""
    if number == 2:
        raise ValueError("two")


def test_on_failed_skip_settles_and_logs(stand: EngineFixture, caplog: pytest.LogCaptureFixture) -> None:
    """After its attempts, as the configuration says."""
    stand.put(b"1", b"2", b"3")

    drain(stand.engine(failing, on_failed="skip", retry={"max_attempts": 2, "initial_delay": 0.01}))

    assert stand.bodies("in") == []
    lines = warnings_in(caplog.records)
    assert any("failed at function" in line and "skipped, as on_failed says" in line for line in lines)


def test_on_failed_stop_stops_the_engine_and_leaves_the_message(stand: EngineFixture) -> None:
    """The person on call sees it at once, as with the crash of a consumer."""
    stand.put(b"1", b"2", b"3")

    async def main() -> None:
        with pytest.raises(Exception, match=r"ValueError: two.* It stays in its queue"):
            async with running(stand.engine(failing, on_failed="stop", retry={"max_attempts": 1}, batch_size=1)) as run:
                await run.ended()

    asyncio.run(main())
    assert b"2" in stand.bodies("in")


@pytest.mark.parametrize("key", ["on_failed", "batch_wait"])
def test_what_has_no_effect_is_told(stand: EngineFixture, caplog: pytest.LogCaptureFixture, key: str) -> None:
    """Beside a dead-letter queue, and for a function of one message."""
    settings: Any = {"on_failed": "skip"} if key == "on_failed" else {"batch_wait": 2.0}

    drain(stand.engine(failing, dead_letters=True, **settings))

    assert f"'{key}' has no effect" in caplog.text
