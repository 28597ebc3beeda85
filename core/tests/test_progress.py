"""The line that says how far a run is: on a terminal, and nowhere else."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from core.tests.stand import Stand, running, until

from penstock.cli.progress import Progress

APP = """
import time
from penstock import Engine

queues = {"in": {"connector": "memory"}, "out": {"connector": "memory"}}
app = Engine("in", ["out"], app_name="till", queue_config=queues)

@app.stream_app
def main(number):
    time.sleep(0.3)
    return ("out", number)
"""
ARGUMENTS = ["app.py", "--drain", "--feed", "in=in.jsonl", "--collect", "out=out.jsonl", "--metrics-port", "none"]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A folder with an app and its input."""
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "in.jsonl").write_text("1\n2\n3\n")
    return tmp_path


def test_on_a_terminal_a_line_says_how_far_the_run_is(app: Path) -> None:
    """Fed, done, in flight; overwritten in place, and gone at the end, when a line for each engine sums it up."""
    terminal, stderr = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock.cli.main", "run", *ARGUMENTS],
        cwd=app,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
    )
    os.close(stderr)
    shown = b""
    try:
        while piece := os.read(terminal, 4096):
            shown += piece
    except OSError:
        pass  # Linux's way to say that the other end of a terminal is closed
    finally:
        os.close(terminal)
        assert process.wait(30) == 0

    text = shown.decode()
    lines = text.split("\r\x1b[K")
    assert any(line.startswith("fed 3 | till: ") and not line.endswith(" 0 in flight") for line in lines)
    *told, rest = lines[-1].split("\r\n")
    assert rest == ""
    assert told == [
        "engine 'till', queue 'in': 3 received, 3 succeeded",
        "engine 'collect-out', queue 'out': 3 received, 3 succeeded",
    ]
    assert "\n" not in "".join(lines[:-1])
    assert (app / "out.jsonl").read_text() == "1\n2\n3\n"


def test_elsewhere_nothing_is_written(app: Path) -> None:
    """In a log file it would be noise."""
    result = subprocess.run(
        [sys.executable, "-m", "penstock.cli.main", "run", *ARGUMENTS],
        cwd=app,
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_the_line_fits_a_terminal_and_names_each_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most 100 characters, numbers with thousands."""
    stand, shown = Stand(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    stand.numbers(1_200)
    engines = [
        stand.engine(lambda _: None, [], app_name="till"),
        stand.engine(lambda _: None, [], app_name="x" * 200, input_queue="other", source=stand.memory("other")),
    ]

    async def main() -> None:
        async with running(*engines, Progress([], engines)):
            await until(lambda: "till: 1,200 done, 0 in flight | xxx" in shown.getvalue())

    asyncio.run(main())

    lines = shown.getvalue().split("\r\x1b[K")
    assert max(map(len, lines)) == 100
    assert lines[-1] == ""
