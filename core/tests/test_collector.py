"""The garbage collector of a worker: tuned where the process is its own, as it was afterwards, never elsewhere."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator

import pytest

from penstock import Engine
from penstock.config.model import WorkerSettings
from penstock.worker.collector import FROZEN_BY_PYTHON, THRESHOLDS
from penstock.worker.worker import Worker

PYTHONS_OWN = (700, 10, 10)


@pytest.fixture(autouse=True)
def untuned() -> Iterator[None]:
    """As in a process of its own: the tests' has settings, and has frozen what they share."""
    before = gc.get_threshold()
    gc.unfreeze()
    gc.set_threshold(*PYTHONS_OWN)
    yield
    gc.freeze()
    gc.set_threshold(*before)


class Looking:
    """Runs beside no engine; notes the collector's state while the worker runs."""

    def __init__(self) -> None:
        self.threshold: tuple[int, int, int] | None = None
        self.frozen = 0
        self.worker: Worker

    def start(self, *_boards: object) -> Looking:
        return self

    async def run(self, *_timeouts: object) -> None:
        self.threshold, self.frozen = gc.get_threshold(), gc.get_freeze_count()

    def stop(self) -> None:
        """It ends by itself."""


def look(*, owns: bool = True, tune: bool = True) -> Looking:
    looking = Looking()
    worker = Worker([looking], WorkerSettings(metrics_port=None, tune_garbage_collector=tune))  # type: ignore[list-item]
    if owns:
        worker.run()
    else:
        asyncio.run(worker.serve())
    return looking


def test_a_worker_that_owns_its_process_tunes_the_collector() -> None:
    looking = look()

    assert looking.threshold == THRESHOLDS
    assert looking.frozen > FROZEN_BY_PYTHON
    assert gc.get_threshold() == PYTHONS_OWN
    assert gc.get_freeze_count() < FROZEN_BY_PYTHON


def test_an_embedded_worker_leaves_the_collector_alone() -> None:
    assert look(owns=False).threshold == PYTHONS_OWN


def test_a_worker_on_another_thread_leaves_the_collector_alone() -> None:
    seen: list[Looking] = []
    thread = threading.Thread(target=lambda: seen.append(look()))
    thread.start()
    thread.join()

    assert seen[0].threshold == PYTHONS_OWN


def test_the_setting_turns_it_off() -> None:
    looking = look(tune=False)

    assert looking.threshold == PYTHONS_OWN
    assert looking.frozen < FROZEN_BY_PYTHON


def test_a_program_keeps_the_thresholds_it_has_set() -> None:
    gc.set_threshold(5_000, 20, 20)

    assert look().threshold == (5_000, 20, 20)
    assert gc.get_threshold() == (5_000, 20, 20)


def test_a_program_that_has_switched_the_collector_off_keeps_it_off() -> None:
    gc.disable()
    try:
        assert look().threshold == PYTHONS_OWN
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_a_program_has_frozen_stays_frozen() -> None:
    gc.freeze()
    frozen = gc.get_freeze_count()

    assert look().threshold == THRESHOLDS
    assert gc.get_freeze_count() > frozen / 2  # some of them are freed meanwhile
    assert gc.get_threshold() == PYTHONS_OWN


def test_it_is_restored_after_a_worker_that_could_not_start() -> None:
    app = Engine("orders", queue_config={"orders": {"connector": "memory"}})  # without a function

    with pytest.raises(Exception, match="has no function"):
        Worker([app], WorkerSettings(metrics_port=None)).run()

    assert gc.get_threshold() == PYTHONS_OWN
