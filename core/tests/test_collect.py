"""`--collect`: what it takes out of a queue is on the disk before it is settled, and no file loses what it held."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from core.tests.engine_fixture import EngineFixture

from penstock.cli.feed import Collector
from penstock.cli.lines_file import LinesFile
from penstock.config.files import load
from penstock.config.resolve import registry_for, resolve_queue
from penstock.errors import ConfigError
from penstock.message import QueueMessage, Record
from penstock.queues.queue import OutputQueue

CONFIG = """
queues:
  in: {connector: sqlite, config: {path: "FILE"}}
  dead: {profile: sqlite-dlq, config: {path: "FILE"}}
worker: {metrics_port: none}
"""


LETTERS = 5
ALL = [f"letter {number}" for number in range(LETTERS)]


class Letters:
    """Dead letters in a queue that outlives its processes, and `penstock run` that collects them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        config = CONFIG.replace("FILE", str(folder / "letters.db"))
        (folder / "queues.yml").write_text(config)
        self.fill()

    def fill(self) -> None:
        """Lay five more letters into the queue."""
        configuration = load(self.folder / "queues.yml")
        resolved = resolve_queue(configuration, "dead", "output", registry=registry_for(configuration))

        async def main() -> None:
            async with OutputQueue(resolved) as queue:
                assert not await queue.produce([Record(json.dumps(letter).encode()) for letter in ALL])

        asyncio.run(main())

    def run(self, *arguments: str, sabotage: str = "") -> subprocess.CompletedProcess[str]:
        """Run it without an app until all is drained; `sabotage` is run in its process first."""
        command = f"{sabotage}\nimport sys\nfrom penstock.cli.main import main\nsys.exit(main())"
        return subprocess.run(
            [sys.executable, "-c", command, "run", "--config", "queues.yml", "--drain", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def collect(self, *arguments: str, file: str = "out.jsonl", sabotage: str = "") -> tuple[int, str]:
        """Collect the letters; the exit code and standard error."""
        done = self.run("--collect", f"dead={file}", *arguments, sabotage=sabotage)
        return done.returncode, done.stderr

    def found(self, file: str = "out.jsonl") -> list[str]:
        """The bodies of the letters in a file."""
        lines = (self.folder / file).read_text().splitlines()
        return [json.loads(json.loads(line)["body"]) for line in lines]


@pytest.fixture
def letters(tmp_path_factory: pytest.TempPathFactory) -> Letters:
    """Five letters; a short path, for a socket's name must not be long."""
    return Letters(tmp_path_factory.mktemp("c"))


def test_collecting_twice_keeps_the_letters(letters: Letters) -> None:
    """The second run is refused before it reads anything, and says what to add; then nothing of either is lost."""
    assert letters.collect() == (0, "")
    letters.fill()

    assert letters.collect() == (
        2,
        "penstock: --collect out.jsonl: the file is not empty; add --append to write behind what it holds, "
        "--overwrite to replace that, or give another file\n",
    )
    assert letters.found() == ALL
    assert letters.collect("--append") == (0, "")
    assert letters.found() == ALL * 2


def test_a_file_is_replaced_by_overwrite_alone(letters: Letters) -> None:
    """Also if nothing comes: the file is that run's. A run that cannot start replaces nothing."""
    file = letters.folder / "out.jsonl"
    file.write_text("old\n")
    assert letters.collect("--overwrite", "--feed", "dead=missing.jsonl")[0] == 2
    assert file.read_text() == "old\n"

    assert letters.collect("--overwrite") == (0, "")
    assert letters.found() == ALL
    assert letters.collect("--overwrite") == (0, "")
    assert file.read_text() == ""


@pytest.mark.parametrize("option", ["--append", "--overwrite"])
def test_an_empty_or_missing_file_needs_no_option_and_takes_each(letters: Letters, option: str) -> None:
    """An empty file holds nothing that could be lost."""
    (letters.folder / "out.jsonl").touch()
    assert letters.collect() == (0, "")
    letters.fill()
    assert letters.collect(option, file="new.jsonl") == (0, "")
    assert letters.found() == letters.found("new.jsonl") == ALL


KILL = """
import os, signal, stat
real = os.{call}
def {call}(descriptor, *rest):
    done = real(descriptor, *rest)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.kill(os.getpid(), signal.SIGKILL)
    return done
os.{call} = {call}
"""


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_kill_between_the_line_and_its_settlement_loses_nothing(letters: Letters, call: str) -> None:
    """What was written and not settled comes again: a line twice at most, none missing."""
    code, _err = letters.collect(sabotage=KILL.format(call=call))
    assert code == -signal.SIGKILL

    assert letters.collect("--append")[0] == 0

    found = letters.found()
    assert set(found) == set(ALL)
    assert all(found.count(letter) <= 2 for letter in ALL)


# For this file alone: the queue is in a file, too.
LIMIT = """
import resource
from penstock.cli.lines_file import LinesFile
append = LinesFile.append
def limited(file, lines):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        append(file, lines)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
LinesFile.append = limited
"""
BROKEN_SYNC = """
import os, stat
real = os.fsync
def fsync(descriptor):
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(5, "Input/output error")
    real(descriptor)
os.fsync = fsync
"""


@pytest.mark.parametrize(
    ("file", "sabotage", "reason"),
    [
        ("/dev/full", "", "No space left on device"),
        ("out.jsonl", LIMIT, "File too large"),
        ("out.jsonl", BROKEN_SYNC, "Input/output error"),
    ],
    ids=["no space", "too large in the middle of a line", "the disk does not sync"],
)
def test_what_cannot_be_written_is_not_settled(letters: Letters, file: str, sabotage: str, reason: str) -> None:
    """The run ends with 1 and says why; no half line is left; every letter is there for the next run."""
    code, err = letters.collect(file=file, sabotage=sabotage)

    assert code == 1
    last = err.splitlines()[-1]
    assert last.startswith("penstock: engine 'collect-dead', queue 'dead', sqlite: --collect ")
    assert f": {reason}; what is not in the file is not settled and stays in its queue" in last
    assert letters.collect("--append") == (0, "")
    assert letters.found() == ALL


REMOVE = """
import os
from penstock.cli.lines_file import LinesFile
append = LinesFile.append
def removing(file, lines):
    os.remove(file.path)
    append(file, lines)
LinesFile.append = removing
"""


def test_a_file_that_is_removed_while_it_is_written_gets_no_more(letters: Letters) -> None:
    """The lines would be gone with the last one who has the file open."""
    code, err = letters.collect(sabotage=REMOVE)

    assert (code, "the file was removed while it was written" in err) == (1, True)
    assert letters.collect() == (0, "")
    assert letters.found() == ALL


def test_two_runs_do_not_write_to_one_file(letters: Letters) -> None:
    """The second is refused, whatever it was told to do with the file; under another name of the file, too."""
    held = LinesFile(str(letters.folder / "out.jsonl"))
    os.link(letters.folder / "out.jsonl", letters.folder / "link.jsonl")
    try:
        for option in ([], ["--append"], ["--overwrite"]):
            assert letters.collect(*option, file="link.jsonl") == (
                2,
                "penstock: --collect link.jsonl: another run is writing to the file; let it end, or give another "
                "file\n",
            )
        held.append([b'{"body": "\\"first\\""}'])
    finally:
        held.close()
    assert letters.collect("--append") == (0, "")
    assert letters.found() == ["first", *ALL]


def test_a_line_that_a_crash_cut_off_spoils_no_other(letters: Letters) -> None:
    """--append leaves it as it is, says so, and begins behind it."""
    file = letters.folder / "out.jsonl"
    file.write_text('{"body":"\\"whole\\""}\n{"body":"ha')

    code, err = letters.collect("--append")

    assert code == 0
    assert "out.jsonl: its last line has no end" in err
    lines = file.read_text().splitlines()
    assert lines[:2] == ['{"body":"\\"whole\\""}', '{"body":"ha']
    assert [json.loads(json.loads(line)["body"]) for line in lines[2:]] == ALL


def test_a_pipe_and_standard_output_are_written_to(letters: Letters) -> None:
    """Without a lock, a size or a sync."""
    os.mkfifo(letters.folder / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((letters.folder / "pipe").read_text()))
    reader.start()

    assert letters.collect(file="pipe") == (0, "")
    reader.join(30)
    assert [json.loads(json.loads(line)["body"]) for line in read[0].splitlines()] == ALL
    letters.fill()
    done = letters.run("--collect", "dead=-")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, LETTERS)


CLOSED = "import os; read, write = os.pipe(); os.close(read); os.dup2(write, 1)"


def test_a_reader_that_went_away_settles_nothing(letters: Letters) -> None:
    """`penstock run … --collect dead=- | head -0`: exit code 1, and the letters are still there."""
    code, err = letters.collect(file="-", sabotage=CLOSED)

    assert (code, "--collect -: Broken pipe" in err) == (1, True)
    assert letters.collect() == (0, "")
    assert letters.found() == ALL


def test_a_file_is_on_the_disk_before_its_messages_are_settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name in the directory first, then every line."""
    stand = EngineFixture()
    stand.put(b"1", b"2", queue="dead")
    happened: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        kind = "directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        happened.append(kind if kind == "directory" else (tmp_path / "out.jsonl").read_text())

    monkeypatch.setattr(os, "fsync", fsync)
    configuration = load([stand.raw("dead")])
    resolved = resolve_queue(configuration, "dead", "input", registry=registry_for(configuration))
    collector = Collector(str(tmp_path / "out.jsonl"), resolved.serializer)

    collector([b"1", b"2"], [QueueMessage(None, b"1"), QueueMessage(None, b"2")])
    happened.append("settled")
    collector.close()

    assert happened == ["directory", '{"body":"1"}\n{"body":"2"}\n', "settled"]


def test_a_dead_letter_keeps_its_reasons_in_a_queue_of_any_format(tmp_path: Path) -> None:
    """A line of the bare body would lose them, and they are nowhere else once it is settled."""
    from penstock.builtin.json_serializer import JsonSerializer

    letter = QueueMessage(None, b'{"a":1}', b"k", [("penstock-error-stage", b"function")])
    collector = Collector(str(tmp_path / "out.jsonl"), JsonSerializer())
    collector([letter.message], [letter])
    collector.close()

    assert json.loads((tmp_path / "out.jsonl").read_text()) == {
        "body": '{"a":1}',
        "key": "k",
        "headers": [["penstock-error-stage", "function"]],
    }


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["--append"], "--append says what to do with the file of --collect QUEUE=FILE; give that, too"),
        (["--overwrite"], "--overwrite says what to do with the file of --collect QUEUE=FILE; give that, too"),
    ],
    ids=["append", "overwrite"],
)
def test_a_command_line_that_means_nothing_is_refused(
    tmp_path: Path, arguments: list[str], answer: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and what is missing."""
    from penstock.cli.main import main

    (tmp_path / "queues.yml").write_text("queues: {in: {connector: memory}}")

    assert main(["run", "--config", str(tmp_path / "queues.yml"), "--feed", "in=x", *arguments]) == 2
    assert capfd.readouterr().err == f"penstock: {answer}\n"


@pytest.mark.parametrize("arguments", [[], ["--config", "queues.yml"], ["--collect", "in=x"]], ids=" ".join)
def test_a_run_of_nothing_is_refused_with_the_usage(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """As a missing argument of any command is."""
    from penstock.cli.main import main

    with pytest.raises(SystemExit) as caught:
        main(["run", *arguments])

    assert caught.value.code == 2
    said = capfd.readouterr().err
    assert said.startswith("usage: penstock run")
    assert "name an APP to run; or, to run none, give --config FILE and what to --feed or --collect" in said


def test_a_file_that_holds_something_is_named(tmp_path: Path) -> None:
    """A link to it, too."""
    (tmp_path / "real.jsonl").write_text("old\n")
    (tmp_path / "out.jsonl").symlink_to(tmp_path / "real.jsonl")

    with pytest.raises(ConfigError, match="the file is not empty"):
        Collector(str(tmp_path / "out.jsonl"), None)
    assert (tmp_path / "real.jsonl").read_text() == "old\n"
