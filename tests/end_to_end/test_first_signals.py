"""A worker handles signals from its start, also as the first process of a container; the exit codes are documented."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from tests.end_to_end.conftest import App

CONFIG = """
queues: {in: {connector: memory}}
worker: {metrics_port: none}
"""
APP = """
import os, signal, sys, time
from penstock import Engine

app = Engine("in", app_name="sleeper", yaml_config_path="queues.yml", metrics_port=None)

@app.stream_app
def sleeper(message):
    os.write(1, b"called\\n")
    time.sleep(HOW_LONG)

IMPORT
"""
# Not one long sleep: a signal that comes just before it is seen only at its end.
SLEEPING = "for _ in range(600): time.sleep(0.1)"
IMPORTING = f"os.write(1, b'importing\\n')\n{SLEEPING}"
SWALLOWING = f"""
os.write(1, b'importing\\n')
try:
    {SLEEPING}
except BaseException:
    raise RuntimeError("swallowed") from None
"""
RUNNING_ITSELF = "sleeper()"
SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
RUN = [sys.executable, "-m", "penstock.cli.main", "run", "app.py"]
TIMEOUT = 60.0
IN_A_NAMESPACE = ["unshare", "-pf", "--mount-proc", "--kill-child"]


def as_first_process() -> None:
    """Skip on machines where a process may not get a process namespace of its own."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no `unshare` here to make a process number 1")
    made = subprocess.run([*IN_A_NAMESPACE, "true"], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no process may become number 1 here: {made.stderr.strip()}")


def start(app: App, command: list[str], importing: str, *, how_long: float = 0.0) -> subprocess.Popen[str]:
    app.write("queues.yml", CONFIG)
    app.write("app.py", APP.replace("IMPORT", importing).replace("HOW_LONG", str(how_long)))
    app.write("in.jsonl", "1\n")
    return subprocess.Popen(
        command, cwd=app.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and standard error."""
    try:
        _, errors = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
    return process.returncode, errors


def inside(process: subprocess.Popen[str]) -> int:
    """The process that runs in the namespace that `unshare` made: its only child."""
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as children:
        return int(children.read().split()[0])


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("importing", [IMPORTING, SWALLOWING], ids=["raised", "swallowed"])
def test_a_signal_while_the_program_is_imported(app: App, number: int, importing: str) -> None:
    """Nothing has begun: exit code 0, at once, without a traceback, whatever the program makes of it."""
    process = start(app, RUN, importing)
    assert line(process) == "importing"

    process.send_signal(number)

    code, errors = end(process)
    assert (code, "Traceback" in errors) == (0, False)
    assert errors == "" or importing == SWALLOWING


def test_a_drain_that_never_began(app: App) -> None:
    """The exit code is 3, because the drain was not finished."""
    process = start(app, [*RUN, "--drain"], IMPORTING)
    assert line(process) == "importing"

    process.send_signal(signal.SIGTERM)

    assert end(process) == (3, "")


def test_two_signals_while_the_program_is_imported(app: App) -> None:
    """The second signal ends a program that swallows the first."""
    stubborn = (
        "while True:\n    try:\n        os.write(1, b'importing\\n'); time.sleep(60)\n    except BaseException: pass"
    )
    process = start(app, RUN, stubborn)
    assert line(process) == "importing"
    process.send_signal(signal.SIGTERM)
    assert line(process) == "importing"

    process.send_signal(signal.SIGTERM)

    assert end(process) == (130, "")


def test_another_command_is_broken_off_by_the_first(app: App) -> None:
    """`penstock check` that hangs in the import of a model: 130, and no traceback."""
    app.write("model.py", "import os, time\nos.write(1, b'importing\\n'); time.sleep(60)\n")
    command = [sys.executable, "-m", "penstock.cli.main", "check", "model.yml"]
    app.write("model.yml", "queues: {in: {connector: memory, data_model: 'model:Model'}}")
    process = start(app, command, "")
    assert line(process) == "importing"

    process.send_signal(signal.SIGINT)

    assert end(process) == (130, "")


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(
    "command", [[*RUN, "--feed", "in=in.jsonl"], [sys.executable, "app.py"]], ids=["run", "itself"]
)
def test_a_signal_while_it_runs(app: App, number: int, command: list[str]) -> None:
    """SIGHUP ends a worker in order as well: calls that have begun are finished."""
    itself = command[-1] == "app.py"
    process = start(app, command, f"FEED\n{RUNNING_ITSELF}".replace("FEED", FEED) if itself else "", how_long=0.5)
    assert line(process) == "called"

    process.send_signal(number)

    assert end(process)[0] == 0


FEED = """
import asyncio
from penstock.message import Record
from penstock_memory.options import MemoryOptions
from penstock_memory.producer import MemoryProducer
async def feed():
    producer = MemoryProducer("in", MemoryOptions())
    await producer.connect()
    await producer.produce([Record(b"1")])
asyncio.run(feed())
"""


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("when", ["importing", "called"])
def test_the_first_process_of_a_container(app: App, number: int, when: str) -> None:
    """The kernel drops a signal that process 1 does not handle, so there are handlers from the start."""
    as_first_process()
    command = [*IN_A_NAMESPACE, *RUN, "--feed", "in=in.jsonl"]
    process = start(app, command, IMPORTING if when == "importing" else "assert os.getpid() == 1", how_long=0.5)
    assert line(process) == when

    os.kill(inside(process), number)

    assert end(process)[0] == 0


def test_a_second_signal_ends_the_first_process(app: App) -> None:
    """The worker ends at once, although the function never returns."""
    as_first_process()
    process = start(app, [*IN_A_NAMESPACE, *RUN, "--feed", "in=in.jsonl"], "", how_long=60)
    assert line(process) == "called"
    os.kill(inside(process), signal.SIGTERM)
    time.sleep(0.5)  # two of a kind that are pending together count once

    os.kill(inside(process), signal.SIGTERM)

    assert end(process)[0] == 130


def test_a_hangup_under_nohup(app: App) -> None:
    """A signal that was ignored at the start stays ignored."""
    process = start(app, ["nohup", *RUN, "--feed", "in=in.jsonl"], "", how_long=0.5)
    assert line(process) == "called"
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(2)

    process.send_signal(signal.SIGTERM)

    assert end(process)[0] == 0
