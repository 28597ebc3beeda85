"""No message is lost because of what cannot be printed or logged, in whatever state the standard streams are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.end_to_end.conftest import App

CONFIG = """
queues:
  in: {connector: memory}
  out: {connector: memory}
  dead: {profile: memory-dlq}
engine: {retry: {max_attempts: 1}}
"""
APP = """
import sys
from penstock import Engine

app = Engine("in", ["out"], app_name="printer", dead_letter_queue="dead", yaml_config_path="queues.yml")

@app.stream_app
ASYNC def printer(number):
    print("got", number, "x" * 300, "é", "\\udc80")
    print("got", number, file=sys.stderr)
    return ("out", number)
"""
COUNT = 500
COLLECT = ("--drain", "--feed", "in=in.jsonl", "--collect", "out=out.jsonl", "--collect", "dead=dead.jsonl")
TIMEOUT = 60.0


@pytest.fixture
def printing(app: App) -> App:
    """An app that prints for every message, on both streams."""
    app.write("queues.yml", CONFIG)
    app.write("app.py", APP.replace("ASYNC ", ""))
    app.write("in.jsonl", "".join(f"{number}\n" for number in range(COUNT)))
    return app


def shell(app: App, redirected: str, *arguments: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    """`penstock run app.py …` by a shell that redirects it; its exit code, and what it wrote on a pipe of ours."""
    command = [sys.executable, "-m", "penstock.cli.main", "run", "app.py", *arguments, "--metrics-port", "none"]
    result = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirected}', "sh", *command],
        cwd=app.folder, env=os.environ | (env or {}), capture_output=True, text=True, timeout=TIMEOUT, check=False,
    )  # fmt: skip
    return result.returncode, result.stdout + result.stderr


@contextmanager
def pipe(*, read: bool) -> Iterator[int]:
    """The end to write to of a pipe whose reader is gone, or there and takes nothing."""
    reader, writer = os.pipe()
    if not read:
        os.close(reader)
    try:
        yield writer
    finally:
        os.close(writer)
        if read:
            os.close(reader)


def assert_nothing_lost(app: App) -> None:
    assert app.lines("dead.jsonl") == []
    assert sorted(map(int, app.lines("out.jsonl"))) == list(range(COUNT))


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("there", [False, True], ids=["without a reader", "a reader that hangs"])
def test_a_pipe_without_a_reader(printing: App, kind: str, stream: str, there: bool) -> None:
    """The reader is gone or reads nothing. Every message is processed, and the exit code is 0."""
    printing.write("app.py", APP.replace("ASYNC def", kind))
    command = [sys.executable, "-m", "penstock.cli.main", "run", "app.py", *COLLECT, "--metrics-port", "none"]
    with pipe(read=there) as writer, (printing.folder / "log").open("wb") as log:
        streams = {"stdout": log, "stderr": log} | {stream: writer}
        result = subprocess.run(command, cwd=printing.folder, **streams, timeout=TIMEOUT, check=False)

    assert result.returncode == 0
    assert_nothing_lost(printing)
    if stream == "stdout":
        told = (printing.folder / "log").read_text()
        assert told.count("standard output cannot be written") == 1


@pytest.mark.parametrize("redirected", [">&-", "2>&-", ">&- 2>&-", "> /dev/full", "2> /dev/full", "< /dev/null <&-"])
def test_a_stream_that_is_closed_or_full(printing: App, redirected: str) -> None:
    """The shell closed the stream, or its disk is full."""
    code, _ = shell(printing, redirected, *COLLECT)

    assert code == 0
    assert_nothing_lost(printing)


def test_a_terminal_that_is_not_utf_8(printing: App) -> None:
    """What it cannot show is escaped."""
    code, shown = shell(printing, "2> /dev/null", *COLLECT, env={"PYTHONIOENCODING": "ascii"})

    assert code == 0
    assert_nothing_lost(printing)
    assert "\\xe9 \\udc80" in shown


def test_a_closed_descriptor_does_not_become_a_socket(printing: App) -> None:
    """With `2>&-` the next file that is opened would get number 2, and every warning."""
    printing.write(
        "app.py", APP.replace("ASYNC ", "").replace("    return", "    import os; os.write(2, b'x')\n    return")
    )

    code, _ = shell(printing, "2>&-", *COLLECT)

    assert code == 0
    # Each call failed on the closed descriptor, as in any program; none of it is in a file of ours.
    assert (printing.lines("out.jsonl"), len(printing.lines("dead.jsonl"))) == ([], COUNT)


def test_what_is_collected_on_standard_output_is_no_print(printing: App) -> None:
    """`--collect out=-` settles what it has written, so there it must fail, not drop."""
    code, told = shell(printing, "> /dev/full", "--drain", "--feed", "in=in.jsonl", "--collect", "out=-")

    assert code == 1
    assert "No space left on device" in told


def test_standard_output_that_is_closed_collects_nothing(printing: App) -> None:
    """The run is rejected before it takes a message."""
    code, told = shell(printing, ">&-", "--drain", "--feed", "in=in.jsonl", "--collect", "out=-")

    assert (code, told) == (2, "penstock: --collect -: standard output is closed\n")


@pytest.mark.parametrize("redirected", ["> /dev/full", ">&-"])
def test_another_command_that_cannot_print_says_so(printing: App, redirected: str) -> None:
    """A listing that is lost is an error, unlike a function's print."""
    result = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirected}', "sh", sys.executable, "-m", "penstock.cli.main", "plugins"],
        capture_output=True, text=True, timeout=TIMEOUT, check=False,
    )  # fmt: skip

    assert result.returncode == 1
    assert result.stderr.startswith("penstock: standard output cannot be written: ")


HANDLER = """
import logging

class Broken(logging.Handler):
    def PLACE(self, record, *args):
        raise ERROR("down")
logging.getLogger().addHandler(Broken())
logging.getLogger("penstock").setLevel("DEBUG")
"""


@pytest.mark.parametrize(
    ("place", "error"),
    [("emit", "ConnectionError"), ("handle", "BaseException"), ("filter", "__import__('asyncio').CancelledError")],
)
def test_a_log_handler_that_raises(printing: App, place: str, error: str) -> None:
    """Neither our log calls nor the function's fail; a message that fails becomes a dead letter."""
    handler = HANDLER.replace("PLACE", place).replace("ERROR", error)
    body = "    logging.warning('got %s', number)\n    if number == 7: raise ValueError('seven')\n    return"
    printing.write("app.py", handler + APP.replace("ASYNC ", "").replace("    return", body))

    result = printing.run(*COLLECT)

    assert result.code == 0, result.err
    assert len(printing.lines("dead.jsonl")) == 1
    assert sorted(map(int, printing.lines("out.jsonl"))) == [n for n in range(COUNT) if n != 7]
    name = "Logger" if place == "handle" else "Broken"
    assert result.err.count(f"logging failed: {name} raised") == 1


PROGRAM = """
import asyncio, logging, os, signal, sys
from pathlib import Path
from penstock import Engine, QueueConfig
from penstock.message import Record
from penstock_memory.options import MemoryOptions
from penstock_memory.producer import MemoryProducer

logging.basicConfig(level="INFO")
queue = QueueConfig(name="in", connector="memory")
app = Engine("in", app_name="printer", queue_config=[queue], metrics_port=None, retry={"max_attempts": 1})
done = []

@app.stream_app
def printer(number):
    print("got", number, "x" * 300)
    logging.info("got %s", number)
    done.append(number)
    if len(done) == 500:
        os.kill(os.getpid(), signal.SIGTERM)

async def fill():
    producer = MemoryProducer("in", MemoryOptions())
    await producer.connect()
    await producer.produce([Record(str(n).encode()) for n in range(500)])

asyncio.run(fill())
out, err = sys.stdout, sys.stderr
printer()
assert (sys.stdout, sys.stderr) == (out, err)
Path("done").write_text(str(len(done)))
"""


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("there", [False, True], ids=["without a reader", "a reader that hangs"])
def test_a_program_that_runs_itself(app: App, stream: str, there: bool) -> None:
    """`python app.py`: the same while it runs; afterwards its streams are its own again."""
    app.write("app.py", PROGRAM)
    with pipe(read=there) as writer, (app.folder / "log").open("wb") as log:
        streams = {"stdout": log, "stderr": log} | {stream: writer}
        result = subprocess.run([sys.executable, "app.py"], cwd=app.folder, **streams, timeout=TIMEOUT, check=False)

    assert result.returncode == 0, Path(app.folder, "log").read_text()
    assert app.lines("done") == [b"500"]


CUT = """
import os, select, sys
from penstock.worker import streams

streams.STALL = 0.2
reader = int(sys.argv[1])
streams.guard()
print("A" * 1_000_000)  # more than a pipe holds: its reader takes nothing for that long
os.set_blocking(reader, False)
got = b""
while select.select([reader], [], [], 0)[0]:
    got += os.read(reader, 1 << 20)
print("next")
got += os.read(reader, 1 << 20)
sys.stderr.write(repr(got.lstrip(b"A")))
"""


def test_a_line_that_was_cut_does_not_run_into_the_next(tmp_path: Path) -> None:
    """A reader that stalled gets a part of a line; what is printed after it stands on a line of its own."""
    reader, writer = os.pipe()
    try:
        result = subprocess.run(
            [sys.executable, "-c", CUT, str(reader)], stdout=writer, stderr=subprocess.PIPE, text=True,
            pass_fds=[reader], cwd=tmp_path, timeout=TIMEOUT, check=False,
        )  # fmt: skip
    finally:
        os.close(reader)
        os.close(writer)

    assert (result.returncode, result.stderr) == (0, repr(b"\nnext\n"))


def test_a_function_that_detaches_a_stream(app: App) -> None:
    """Another encoding is often set so. It is that program's stream then; the rest is restored after the run."""
    detach = "    import io; sys.stdout = io.TextIOWrapper(sys.stdout.detach(), 'utf-8')\n    done.append"
    program = PROGRAM.replace("    done.append", "    if not done:\n    " + detach, 1)
    program = program.replace(
        "assert (sys.stdout, sys.stderr) == (out, err)",
        "assert sys.stderr is err and logging.root.handlers[0].stream is err",
    )
    app.write("app.py", program)
    result = subprocess.run(
        [sys.executable, "app.py"], cwd=app.folder, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )

    assert result.returncode == 0, result.stderr
    assert app.lines("done") == [b"500"]
