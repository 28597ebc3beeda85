"""What a real SIGTERM and a real SIGINT do to a real process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from core.tests.engine_fixture import EngineFixture, running, until
from core.tests.scripted import Source

from penstock.worker.signals import STOP_SIGNALS, stop_signals

PROGRAM = """
import asyncio, os, signal, sys, threading, time
from penstock.worker.signals import stop_signals

def say(text):
    os.write(1, text.encode() + b"\\n")

def signal_myself_when_the_loop_sleeps():
    time.sleep(0.5)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

async def main():
    stop = asyncio.Event()
    def on_stop():
        say("stop")
        stop.set()
    def on_abort():
        say("abort")
        {abort}
    with stop_signals(on_stop, on_abort):
        say("ready")
        {body}
    say("restored" if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL else "not restored")

asyncio.run(main())
"""
UNTIL_STOP = "await stop.wait()"
FOR_EVER = "await asyncio.Event().wait()"
BLOCKED = "while True: time.sleep(0.01)"  # a function that never lets the loop turn
EXIT = "os._exit(130)"


@contextmanager
def program(body: str, abort: str = EXIT) -> Iterator[subprocess.Popen[str]]:
    """A process that listens, from the moment it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body, abort=abort)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert line(process) == "ready", process.communicate(timeout=30)[1]
        yield process
    finally:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_the_first_signal_asks_to_stop(number: signal.Signals) -> None:
    """SIGTERM and Ctrl-C alike: `on_stop` runs on the loop, the program ends its own way, the handlers are put back."""
    with program(UNTIL_STOP) as process:
        process.send_signal(number)

        output, errors = process.communicate(timeout=30)

    assert (output.split(), process.returncode, errors) == (["stop", "restored"], 0, "")


@pytest.mark.parametrize("first", STOP_SIGNALS[:2])
@pytest.mark.parametrize("second", STOP_SIGNALS[:2])
def test_the_second_signal_ends_at_once(first: signal.Signals, second: signal.Signals) -> None:
    """Whichever comes second, the work that never ends is not waited for."""
    with program(FOR_EVER) as process:
        process.send_signal(first)
        assert line(process) == "stop"
        process.send_signal(second)

        output, _ = process.communicate(timeout=30)

    assert (output.split(), process.returncode) == (["abort"], 130)


def test_the_second_signal_ends_a_worker_whose_loop_is_blocked() -> None:
    """A function that blocks the loop keeps `on_stop` waiting, but not `on_abort`."""
    with program(BLOCKED) as process:
        # Signals of one number that are pending together count once, so the second is of the other kind.
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)

        output, _ = process.communicate(timeout=30)

    assert (output.split(), process.returncode) == (["abort"], 130)


def test_a_signal_that_reaches_another_thread_wakes_the_idle_loop() -> None:
    """A signal may reach any thread, or come just before the loop falls asleep; an idle worker still hears it."""
    body = "threading.Thread(target=signal_myself_when_the_loop_sleeps).start(); await stop.wait()"
    with program(body) as process:
        output, _ = process.communicate(timeout=30)

    assert (output.split(), process.returncode) == (["stop", "restored"], 0)


def test_a_third_signal_has_its_usual_effect() -> None:
    """If even `on_abort` does not end the process, SIGTERM kills it as it kills any other."""
    with program(FOR_EVER, abort="pass") as process:
        process.send_signal(signal.SIGTERM)
        assert line(process) == "stop"
        process.send_signal(signal.SIGTERM)
        assert line(process) == "abort"
        process.send_signal(signal.SIGTERM)

        process.communicate(timeout=30)

    assert process.returncode == -signal.SIGTERM


def test_importing_it_listens_for_nothing() -> None:
    """A module that is only imported leaves Ctrl-C as it is."""
    code = (
        "import signal\n"
        "before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]\n"
        "import penstock.worker.signals, penstock.cli.main\n"
        "print(before == [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)])\n"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert result.stdout.strip() == "True"


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in STOP_SIGNALS]


def nothing() -> None:
    """A callback that no test in this process reaches."""


@pytest.fixture
def own_handlers() -> Iterator[list[object]]:
    """Handlers that the application installed before the worker, and which it wants back."""
    before = [signal.signal(number, lambda *_: None) for number in STOP_SIGNALS]
    yield handlers()
    for number, handler in zip(STOP_SIGNALS, before, strict=True):
        signal.signal(number, handler)


def test_the_handlers_of_the_application_are_put_back(own_handlers: list[object]) -> None:
    """Inside the block ours listen, after it the earlier ones."""

    async def main() -> tuple[list[object], list[object]]:
        before = handlers()
        with stop_signals(nothing, nothing):
            inside = handlers()
        assert inside != before
        return before, handlers()

    before, after = asyncio.run(main())

    assert before[0] is own_handlers[0]
    assert after == before


def test_the_handlers_are_put_back_after_an_error(own_handlers: list[object]) -> None:
    """A worker that fails leaves the process as it found it."""

    async def main() -> None:
        with stop_signals(nothing, nothing):
            raise LookupError

    with pytest.raises(LookupError):
        asyncio.run(main())

    assert handlers() == own_handlers


def test_a_handler_that_was_installed_meanwhile_stays(own_handlers: list[object]) -> None:
    """A handler that the program has set in the place of ours is left to the program."""

    def theirs(*_: object) -> None:
        pass

    async def main() -> None:
        with stop_signals(nothing, nothing):
            signal.signal(signal.SIGTERM, theirs)

    asyncio.run(main())

    assert handlers() == [theirs, *own_handlers[1:]]


def wakeup_descriptor() -> int:
    descriptor = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(descriptor)
    return descriptor


def test_the_way_to_wake_the_loop_is_taken_away_again() -> None:
    """After the block no signal writes to a socket that is closed."""

    async def main() -> tuple[int, int]:
        with stop_signals(nothing, nothing):
            inside = wakeup_descriptor()
        return inside, wakeup_descriptor()

    inside, after = asyncio.run(main())

    assert inside != -1
    assert after == -1


@pytest.mark.usefixtures("own_handlers")
@pytest.mark.parametrize("first", ["application", "worker"])
def test_a_handler_of_the_application_goes_on_hearing_its_signal(first: str) -> None:
    """`loop.add_signal_handler` for another signal works inside the block and after it, in either order."""

    async def main() -> int:
        loop = asyncio.get_running_loop()
        heard: asyncio.Queue[None] = asyncio.Queue()

        async def hear() -> None:
            signal.raise_signal(signal.SIGUSR1)
            await asyncio.wait_for(heard.get(), 30)

        if first == "application":
            loop.add_signal_handler(signal.SIGUSR1, heard.put_nowait, None)
        with stop_signals(nothing, nothing):
            if first == "worker":
                loop.add_signal_handler(signal.SIGUSR1, heard.put_nowait, None)
            await hear()
        await hear()
        loop.remove_signal_handler(signal.SIGUSR1)
        return heard.qsize()

    assert asyncio.run(main()) == 0


def test_off_the_main_thread_it_does_nothing(own_handlers: list[object]) -> None:
    """Python gives signals to the main thread only; a worker on another one runs all the same."""
    inside: list[list[object]] = []

    async def main() -> None:
        with stop_signals(nothing, nothing):
            inside.append(handlers())

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    thread.join(timeout=30)

    assert inside == [own_handlers]


def test_a_hangup_that_is_ignored_stays_ignored() -> None:
    """`nohup penstock run …` outlives its terminal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)

    async def main() -> object:
        with stop_signals(nothing, nothing):
            return signal.getsignal(signal.SIGHUP)

    try:
        assert asyncio.run(main()) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("ended", [None, "first", "last"])
def test_two_workers_in_one_process_both_hear_a_signal(own_handlers: list[object], ended: str | None) -> None:
    """Whichever began first; one that has ended takes nothing with it, and the last one puts the handlers back."""
    first, last = Source(), Source()

    def engine(source: Source) -> Any:
        return EngineFixture().engine(lambda _: None, [], source=source.queue())

    async def main() -> None:
        async with running(engine(first)) as one:
            await until(lambda: first.asked)
            async with running(engine(last)) as other:
                await until(lambda: last.asked)
                left = {"first": one, "last": other}
                if ended is not None:
                    await left.pop(ended).stop()
                os.kill(os.getpid(), signal.SIGTERM)
                for run in left.values():
                    await run.ended()

    asyncio.run(main())

    assert handlers() == own_handlers


def test_a_programs_own_handler_for_a_hangup_is_kept() -> None:
    """Many a program opens its logs anew at a SIGHUP: a worker inside of it goes on."""
    source, heard = Source(), asyncio.Event()
    before = signal.signal(signal.SIGHUP, lambda *_: heard.set())

    async def main() -> None:
        async with running(EngineFixture().engine(lambda _: None, [], source=source.queue())) as run:
            await until(lambda: source.asked)
            os.kill(os.getpid(), signal.SIGHUP)
            await until(heard.is_set)
            source.add(b"1")
            await until(lambda: source.settled() == [b"1"])
            assert not run.task.done()

    try:
        asyncio.run(main())
    finally:
        signal.signal(signal.SIGHUP, before)
