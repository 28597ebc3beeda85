"""Bars at the bottom of a terminal: what is printed scrolls above them, and the terminal is left as it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.terminals import Program, without

PRINTING = """
import logging, os, subprocess, sys, threading
from penstock.terminal.bars import progress

handlers = [
    logging.StreamHandler(), logging.StreamHandler(sys.__stdout__), logging.FileHandler("/dev/stderr"),
]
for number, handler in enumerate(handlers):
    logging.getLogger(str(number)).addHandler(handler)

def write(number):
    for line in range(40):
        logging.getLogger(str(number % 3)).warning(f"thread {number} logs {line}")
        print(f"thread {number} prints {line}\\n", end="", flush=True)  # in one piece: other threads print too

with progress("replay of rejects", 400) as bar:
    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    bar.advance(100)
    for thread in threads:
        thread.join()
    subprocess.run("echo from a child; echo its error >&2", shell=True)
    os.write(2, b"from a C library\\n")
    input()
    bar.advance(300)
print("the end")
"""
WAITING = """
import sys
from penstock.terminal.bars import progress
with progress("export", 3) as bar:
    bar.advance()
    print("it runs")
    try:
        input()
    except KeyboardInterrupt:
        print("stopped")
"""
CLOSED = """
import signal, sys, time
from contextlib import suppress
from pathlib import Path
signal.signal(signal.SIGHUP, signal.SIG_IGN)
from penstock.terminal.bars import progress
with progress("export", 3) as bar:
    with suppress(OSError):
        sys.stdin.readline()
    bar.advance()
    time.sleep(1)  # for more than one frame
Path(sys.argv[1]).touch()
"""
BAR = "replay of rejects  "


def test_nothing_that_is_printed_mixes_with_the_bar() -> None:
    """Handlers of any kind, prints of threads, child processes, C libraries: each line once and whole, on screen or
    scrolled away."""
    wanted = [
        *(f"thread {number} {what} {line}" for number in range(4) for line in range(40) for what in ("logs", "prints")),
        *("from a child", "its error", "from a C library", "the end"),
    ]
    with Program("-c", PRINTING, columns=60) as terminal:
        shown = terminal.wait_until(
            lambda lines: any("C library" in line for line in lines) and any("100 of 400" in line for line in lines)
        )
        terminal.type("\n")
        assert terminal.finish() == 0

        assert [line.startswith(BAR) for line in shown].index(True) == len(shown) - 1 == 23
        lines = [line for line in terminal.everything() if line]
        assert sorted(lines) == sorted(wanted)
        assert terminal.is_as_before()


def test_the_bar_fits_the_terminal_and_follows_its_size() -> None:
    """Titles and numbers stay whole; the bar gives way."""
    with Program("-c", WAITING, columns=100) as terminal:
        terminal.wait_for("1 of 3")
        for columns, rows in ((60, 24), (200, 26), (80, 30)):
            terminal.resize(columns, rows)
            shown = terminal.wait_until(lambda lines, rows=rows: len(lines) == rows and lines[-1].endswith(" left"))

            assert shown[-1].startswith("export  ━")
            assert "  1 of 3  " in shown[-1]
            assert shown[0] == "it runs"
            assert not [line for line in shown[1:-1] if line]
        terminal.type("\n")
        assert terminal.finish() == 0
        assert terminal.lines()[0] == "it runs"


@pytest.mark.parametrize("key", ["\x03", "\n"], ids=["Ctrl-C", "at the end"])
def test_the_terminal_is_left_as_it_was(key: str) -> None:
    """No bar stays, all rows scroll, the cursor is shown, and keys are echoed."""
    with Program("-c", WAITING) as terminal:
        terminal.wait_for("1 of 3")
        terminal.type(key)
        assert terminal.finish() == 0

        assert terminal.is_as_before()
        assert terminal.lines()[0] == "it runs"
        assert not [line for line in terminal.everything() if "export" in line]


def test_a_killed_process_leaves_the_terminal_as_it_was() -> None:
    """A small process watches over it."""
    with Program("-c", WAITING) as terminal:
        terminal.wait_for("1 of 3")
        os.kill(terminal.pid, signal.SIGKILL)
        assert terminal.finish() == -signal.SIGKILL

        assert terminal.is_as_before()
        assert terminal.lines() == ["it runs"]


def test_a_terminal_that_is_closed_does_not_stop_the_work(tmp_path: Path) -> None:
    """The bar ends, and nothing else does."""
    done = tmp_path / "done"
    with Program("-c", CLOSED, str(done)) as terminal:
        terminal.wait_for("export")
        terminal.hang_up()
        assert terminal.wait() == 0

    assert done.exists()


@pytest.mark.parametrize("wanting", ["terminal", "rich"])
def test_a_terminal_without_bars_gets_the_prints_alone(wanting: str, tmp_path: Path) -> None:
    """No escape sequence, no error: a dumb terminal, and an installation without the extra `cli`."""
    environment: dict[str, str | None] = {"TERM": "dumb"} if wanting == "terminal" else without("rich", tmp_path)
    with Program("-c", WAITING, environment=environment) as terminal:
        terminal.wait_for("it runs")
        terminal.type("\n")
        assert terminal.finish() == 0

        assert terminal.raw.replace(b"\r\n", b"\n").strip() == b"it runs"


def test_a_pipe_gets_nothing() -> None:
    """Only what the program prints."""
    done = subprocess.run([sys.executable, "-c", WAITING], input="\n", capture_output=True, text=True, check=True)

    assert (done.stdout, done.stderr) == ("it runs\n", "")
