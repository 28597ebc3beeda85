"""`penstock queue`: a person publishes to a queue and looks at it, with the configuration of the worker alone."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.cli.main import main
from penstock.dead_letters import dead_letter
from penstock.message import QueueMessage, Record
from penstock.operations import open as open_queue

CONFIG = """
queues:
  orders: {profile: sqlite, value: shop.orders, config: {path: queues.db, create: true}}
  packed: {profile: sqlite, serializer: msgpack, model_handler: null, config: {path: queues.db, create: true}}
  raw: {profile: sqlite-dlq, config: {path: "${FILE}", create: true}}
  missing: {profile: sqlite, config: {path: nothing.db}}
  kafka: {profile: kafka, config: {bootstrap.servers: "localhost:1", group.id: g}}
"""


class Shell:
    """A folder with a configuration, and `penstock queue` in it."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        try:
            code = main(["queue", "queues.yml", *words])
        except SystemExit as error:
            code = int(str(error.code))
        out, err = self._capsys.readouterr()
        return code, out, err

    def shown(self, name: str, *words: str) -> list[dict[str, Any]]:
        """The messages that `peek --json` prints."""
        code, out, err = self("peek", name, "--json", "-n", "100", *words)
        assert code == 0, err
        return [json.loads(line) for line in out.splitlines()]

    def bodies(self, name: str) -> list[Any]:
        """What the messages hold."""
        return [each["body"] for each in self.shown(name)]


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """A folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FILE", str(tmp_path / "raw.db"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "queues.yml").write_text(CONFIG)
    return Shell(capsys)


@pytest.fixture
def stdin(tmp_path: Path) -> Iterator[Callable[[bytes], None]]:
    """Gives standard input a content."""
    before = os.dup(0)

    def fill(content: bytes) -> None:
        (tmp_path / "stdin").write_bytes(content)
        with (tmp_path / "stdin").open("rb") as file:
            os.dup2(file.fileno(), 0)

    yield fill
    os.dup2(before, 0)
    os.close(before)


def store(name: str, *records: Record) -> None:
    """Put records into a queue of the configuration."""

    async def run() -> None:
        async with open_queue.publish("queues.yml", name) as queue:
            assert not any(await queue.produce(records))

    asyncio.run(run())


# -- publish


def test_a_message_is_published_with_all_that_belongs_to_it(shell: Shell) -> None:
    """Key, headers and delay; the answer says how many are stored, and where."""
    words = ("--key", "k", "--header", "a=b=c", "--header", "a=", "--delay", "60")
    code, out, err = shell("publish", "orders", '{"n": 12345678901234567890123}', *words)

    assert (code, out, err) == (0, "queue 'orders' (queues.yml:3), sqlite: 1 message stored\n", "")
    (seen,) = shell.shown("orders")
    assert (seen["body"], seen["key"], seen["state"]) == ({"n": 12345678901234567890123}, "k", "delayed")
    assert seen["headers"] == [["a", "b=c"], ["a", ""]]


@pytest.mark.parametrize(
    ("content", "bodies"),
    [
        (b'{"n": 1}\n\n{"n": 2}\r\n{"n": 3}', [{"n": 1}, {"n": 2}, {"n": 3}]),
        (b"\xef\xbb\xbf1\n2\n", [1, 2]),
        (b'{\n  "n": 1,\n  "l": [\n    1\n  ]\n}\n', [{"n": 1, "l": [1]}]),
        (b"[\n1,\n2\n]", [[1, 2]]),
        (b"", []),
    ],
)
@pytest.mark.parametrize("source", ["-", "file", "nothing"])
def test_each_line_is_a_message(
    shell: Shell, stdin: Callable[[bytes], None], source: str, content: bytes, bodies: list[Any]
) -> None:
    """Of a file and of standard input; one JSON text over several lines is one message."""
    Path("file").write_bytes(content)
    stdin(content)

    code, out, err = shell("publish", "orders", *([] if source == "nothing" else [source]))

    assert (code, err) == (0, "")
    assert out.endswith(f": {len(bodies)} message{'' if len(bodies) == 1 else 's'} stored\n")
    if bodies:
        assert shell.bodies("orders") == bodies


def test_another_format_is_written_by_the_queues_serializer(shell: Shell) -> None:
    """JSON is what is typed, whatever the queue holds; a queue of bytes takes any text."""
    assert shell("publish", "packed", '{"n": 1}')[0] == 0
    Path("text").write_bytes(b"no json\n")
    assert shell("publish", "raw", "text")[0] == 0

    assert shell.bodies("packed") == [{"n": 1}]
    assert shell.bodies("raw") == ["no json"]


WRONG = [
    (
        b'1\n2\n{"a" 3}\n4\n',
        "file, line 3, column 6: it is not valid JSON: unexpected character, expected ':' after key",
    ),
    (b'{"a": 1\n2\n', "file, line 1, column 8: it is not valid JSON: unexpected end of data"),
    (b'{\n  "a": 1\n  "b": 2\n}', "file, line 3 of it, column 3: it is not valid JSON: unexpected character"),
    (b"nan\n", "file, line 1, column 1: it is not valid JSON"),
    (b"1\n\xff\n", "file, line 2"),
]


@pytest.mark.parametrize(("content", "said"), WRONG)
def test_a_line_that_is_not_json_is_named_and_nothing_of_its_file_is_sent(
    shell: Shell, content: bytes, said: str
) -> None:
    """By its line and column, without its content; a file is read before the first message is sent."""
    Path("file").write_bytes(content)

    code, out, err = shell("publish", "orders", "file")

    assert (code, out) == (2, "")
    assert f"penstock: {said}" in err
    assert "0 messages stored\n" in err


def test_a_pipe_is_sent_as_it_comes_up_to_the_line_that_is_wrong(shell: Shell, stdin: Callable[[bytes], None]) -> None:
    """And the answer says how many are stored by then."""
    stdin(b"1\n" * 200_000 + b"{\n")

    code, out, err = shell("publish", "orders")

    assert (code, out) == (2, "")
    assert "standard input, line 200001, column 2: it is not valid JSON" in err
    (stored,) = [line for line in err.splitlines() if line.endswith(" stored")]
    assert 0 < int(stored.split()[-3].replace(",", "")) <= 200_000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["orders", "hello"], "'hello' is neither JSON nor a file; a text in JSON has quotes: '\"hello\"'"),
        (["orders", '{"a": '], "the message, column 7: it is not valid JSON: unexpected end of data"),
        (["orders", "."], ".: Is a directory"),
        (["orders", "1", "--header", "a"], "--header a: write --header NAME=VALUE"),
        (["orders", "1", "--delay", "-1"], "--delay -1.0: the delay is in seconds and cannot be negative"),
        (["kafka", "1", "--delay", "1"], "has delay=1.0, but connector 'kafka' has no 'record_delay'"),
        (["oders", "1"], "queue 'oders' is not in queues.yml, which has 'orders', 'packed', 'raw'"),
        (["orders", "1", "--kye", "k"], "unrecognized arguments: --kye k; did you mean '--key'?"),
    ],
)
def test_a_wrong_command_is_answered_before_anything_is_sent(shell: Shell, words: list[str], said: str) -> None:
    """With what to write instead."""
    code, out, err = shell("publish", *words)

    assert (code, out) == (2, "")
    assert said in err


REFUSING = """
from penstock.connectors import Capabilities, NotConnected, Producer, ProduceError


class Refusing(Producer):
    capabilities = Capabilities(tombstones=True)

    async def connect(self):
        if self.name == "away":
            raise NotConnected("nothing answers at example.org")

    async def produce(self, records):
        return [ProduceError("too large", retriable=False) if len(each.message) > 4 else None for each in records]

    async def shutdown(self):
        pass
"""


def test_what_the_backend_refuses_is_named_and_the_rest_is_counted(shell: Shell) -> None:
    """By a class of the program, which stands in the folder where the command is typed."""
    Path("refusing_producer.py").write_text(REFUSING)
    Path("queues.yml").write_text("queues: {orders: {producer: refusing_producer.Refusing, serializer: json}}")
    Path("file").write_bytes(b'1\n"large"\n"larger"\n2\n')

    code, out, err = shell("publish", "orders", "file")

    assert (code, out) == (1, "")
    assert "penstock: file, line 2 (and 1 more of these lines): too large" in err
    assert ": 2 messages stored\n" in err


def test_a_backend_that_is_away_is_told(shell: Shell) -> None:
    """After the time for which a worker waits at its start; nothing is stored."""
    Path("refusing_producer.py").write_text(REFUSING)
    Path("queues.yml").write_text(
        "queues: {orders: {value: away, producer: refusing_producer.Refusing}}\nworker: {connect_timeout: 0}"
    )

    code, out, err = shell("publish", "orders", "1")

    assert (code, out) == (1, "")
    assert "nothing answers at example.org; given up after 0 s (worker: connect_timeout)" in err
    assert "0 messages stored\n" in err


# -- peek


def dead(body: bytes) -> Record:
    """A dead letter with this body."""
    message = QueueMessage(None, body, b"k", [("source", b"web")], position="7")
    error = ValueError("less than nothing")
    return dead_letter(message, stage="function", error=error, attempts=3, queue="orders", app="stock", now=1e9)


def test_messages_are_shown_for_people(shell: Shell) -> None:
    """With place, state, time, key, headers; why one died, why one is not valid, and no escapes of a terminal."""
    store("orders", Record(b'{"n": 1}', b"\xff", [("a", b"b"), ("c", None)]), Record(b"\x1b[31m{"), Record(None))
    store("raw", dead(b'{"n": -1}'))

    code, out, err = shell("peek", "orders")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].startswith("1  waiting  20")
    assert lines[0].endswith("Z  key (1 bytes, not text) ff")
    assert lines[1:4] == ["  a: b", "  c: null", '  {"n": 1}']
    assert lines[5].startswith("  not valid: the body is not valid json: ")
    assert lines[6] == "  \\x1b[31m{"
    assert lines[8] == "  (no body: a tombstone)"
    _code, out, _err = shell("peek", "raw")
    assert out.splitlines()[1:] == [
        "  died: ValueError: less than nothing; stage function; attempts 3; from orders at 7; "
        "2001-09-09T01:46:40.000Z; app stock",
        "  source: web",
        '  {"n": -1}',
    ]


def test_messages_are_shown_for_programs(shell: Shell) -> None:
    """An object a line; what is not text is base64, and a dead letter has its reasons."""
    store("orders", Record(b'{"n":\n1.10}', b"\xff", [("c", None), ("d", b"\xff")]), Record(b"{"), Record(b"\xff"))
    store("raw", dead(b'{"n": -1}'))

    first, second, third = shell.shown("orders")
    assert (first["position"], first["state"], first["attempts"]) == ("1", "waiting", 0)
    assert (first["body"], first["key_base64"]) == ({"n": 1.1}, "/w==")
    assert first["headers"] == [["c", None], ["d", {"base64": "/w=="}]]
    assert (second["body"], third["body_base64"]) == ("{", "/w==")
    assert second["error"].startswith("the body is not valid json")
    (letter,) = shell.shown("raw")
    assert (letter["body"], letter["dead_letter"]["stage"]) == ('{"n": -1}', "function")
    assert letter["dead_letter"]["failed_at"] == "2001-09-09T01:46:40.000Z"


@pytest.mark.parametrize(("encoding", "written"), [("ascii", "\\u00e9\\u2603\\ud83d\\ude00"), ("utf-8", "é☃😀")])
def test_a_line_of_json_is_one_whatever_standard_output_takes(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, encoding: str, written: str
) -> None:
    """And holds nothing that a terminal obeys."""
    store("orders", Record('{"n":"é☃😀\x9b"}'.encode()))
    out = io.TextIOWrapper(io.BytesIO(), encoding, errors="backslashreplace", write_through=True)
    monkeypatch.setattr(sys, "stdout", out)

    assert main(["queue", "queues.yml", "peek", "orders", "--json"]) == 0

    (line,) = out.buffer.getvalue().decode(encoding).splitlines()  # type: ignore[attr-defined]
    assert f'"{written}\\u009b"' in line
    assert json.loads(line)["body"] == {"n": "é☃😀\x9b"}


def test_as_many_are_shown_as_are_wanted(shell: Shell) -> None:
    """From the start, or behind a position; an empty queue says that it is."""
    store("orders", *[Record(b"%d" % number) for number in range(12)])

    assert len(shell("peek", "orders")[1].splitlines()) == 2 * 10
    assert [each["position"] for each in shell.shown("orders", "-n", "2", "--after", "3")] == ["4", "5"]
    assert shell("peek", "orders", "--after", "99") == (
        0,
        "",
        "queue 'orders' (queues.yml:3), sqlite: no messages behind 99\n",
    )


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["missing"], 1, "queue 'missing' (queues.yml:6), sqlite: SQLite file at "),
        (["orders", "--after", "x"], 1, "'x' is not a position of queue"),
        (["orders", "-n", "-1"], 2, "-n -1: give how many messages are wanted, from 0"),
        (["kafka"], 1, "queue 'kafka' (queues.yml:7), kafka: Kafka at localhost:1: no answer"),
    ],
)
def test_what_cannot_be_shown_says_why(shell: Shell, words: list[str], code: int, said: str) -> None:
    """The server is away, the queue is not there, the position is none."""
    Path("queues.yml").write_text(CONFIG.replace("group.id: g", "connect_timeout: 0.5"))
    store("orders", Record(b"1"))

    found, out, err = shell("peek", *words)

    assert (found, out) == (code, "")
    assert said in err


def interrupt_when(condition: Callable[[], bool]) -> None:
    """Press Ctrl-C once something has happened."""

    def wait() -> None:
        deadline = time.monotonic() + 60
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait, daemon=True).start()


def test_following_shows_what_arrives_until_ctrl_c(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was there before is not shown again."""
    store("orders", *[Record(b"%d" % number) for number in range(3)])
    shown: list[str] = []
    monkeypatch.setattr("builtins.print", lambda text, **_: shown.append(text))

    def stored_and_shown() -> bool:
        if shown and len(shown) < 2:
            store("orders", Record(b'"later"'))
        return len(shown) > 1

    interrupt_when(stored_and_shown)
    code = main(["queue", "queues.yml", "peek", "orders", "-n", "1", "--follow", "--json"])

    assert code == 130
    assert [json.loads(line)["body"] for line in shown][:2] == [0, "later"]


def test_a_reader_that_has_seen_enough_ends_the_following(shell: Shell) -> None:
    """As in `| head -1`: exit code 0, and no traceback."""
    store("orders", *[Record(b"%d" % number) for number in range(3)])
    command = [sys.executable, "-m", "penstock.cli.main", "queue", "queues.yml", "peek", "orders", "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("1  waiting")
        process.stdout.close()
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            store("orders", Record(b"9"))
            time.sleep(0.1)
        assert process.stderr is not None
        assert (process.returncode, process.stderr.read()) == (0, "")


# -- lag


def test_what_waits_is_counted(shell: Shell) -> None:
    """For people and for programs; a queue that cannot be an input is told."""
    store("orders", *[Record(b"%d" % number) for number in range(1200)], Record(b"9", delay=60.0))
    Path("queues.yml").write_text(CONFIG.replace("  missing:", "  sink: {producer: builtins.dict}\n  missing:"))

    code, out, err = shell("lag", "orders")
    titles, row = out.splitlines()
    assert (code, err) == (0, "")
    assert titles.split() == ["queue", "connector", "waiting", "in", "flight", "delayed", "oldest"]
    assert row.split()[:5] == ["orders", "sqlite", "1,200", "0", "1"]
    assert row.split()[5].startswith("0:0")
    code, out, _err = shell("lag", "orders", "--json")
    (counted,) = [json.loads(line) for line in out.splitlines()]
    assert counted.pop("oldest").endswith("Z")
    assert counted == {
        "queue": "orders", "connector": "sqlite", "waiting": 1200, "in_flight": 0, "delayed": 1, "error": None
    }  # fmt: skip
    code, out, err = shell("lag", "sink")
    assert (code, out.splitlines()[1].split()) == (1, ["sink", "?", "?", "?", "?"])
    assert "queue 'sink' (queues.yml:6:3): has a 'producer' only, so it cannot be an input" in err


def test_one_queue_that_does_not_answer_hides_no_other(shell: Shell) -> None:
    """Its row has question marks, the reason is on standard error, and the exit code is 1."""
    store("orders", Record(b"1"))
    Path("queues.yml").write_text(CONFIG.replace("group.id: g", "group.id: g, connect_timeout: 0.5"))

    code, out, err = shell("lag", "kafka", "orders")

    assert code == 1
    assert [row.split()[2] for row in out.splitlines()[1:]] == ["?", "1"]
    assert "queue 'kafka' (queues.yml:7), kafka: Kafka at localhost:1: no answer" in err


def test_counting_goes_on_until_ctrl_c(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the numbers of that moment."""
    monkeypatch.setattr("penstock.cli.queue.WATCH", 0.05)
    store("orders", Record(b"1"))
    shown: list[str] = []
    monkeypatch.setattr("builtins.print", lambda text, **_: shown.append(text))

    def counted_twice() -> bool:
        if len(shown) == 1:
            store("orders", Record(b"2"))
        return len(shown) > 20

    interrupt_when(counted_twice)
    code = main(["queue", "queues.yml", "lag", "orders", "--watch", "--json"])

    assert code == 130
    assert json.loads(shown[0])["waiting"] == 1
    assert json.loads(shown[-1])["waiting"] >= 2


# -- create


def test_queues_are_created_once(shell: Shell) -> None:
    """All of the configuration; what is there is left as it is; one that cannot be made hides no other."""
    Path("queues.yml").write_text(
        "queues: {orders: {profile: sqlite, config: {path: new.db}}, here: {profile: memory}}"
    )
    assert shell("peek", "orders")[0] == 1

    code, out, err = shell("create")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].startswith("queue 'orders': created: a queue in the SQLite file /")
    assert out.splitlines()[1].startswith("queue 'here': exists already: in memory: it lives in one process")
    store("orders", Record(b"1"))
    assert shell("create", "orders")[1].startswith("queue 'orders': exists already: ")
    assert shell.bodies("orders") == [1]


@pytest.mark.parametrize("action", ["lag", "create"])
def test_a_queue_that_is_not_in_the_file_is_told(shell: Shell, action: str) -> None:
    """Before anything is asked of a server."""
    code, out, err = shell(action, "orders", "oders")

    assert (code, out) == (2, "")
    assert "queue 'oders' is not in queues.yml" in err


def test_a_server_that_is_away_creates_nothing_and_hides_no_other(shell: Shell) -> None:
    """Exit code 1, and the reason."""
    Path("queues.yml").write_text(CONFIG.replace("group.id: g", "connect_timeout: 0.5"))

    code, out, err = shell("create", "kafka", "orders")

    assert code == 1
    assert "Kafka at localhost:1: no answer" in err
    assert out.startswith("queue 'orders': created")
