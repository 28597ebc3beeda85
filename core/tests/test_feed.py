"""A file into a queue, a queue into a file: every line once, in order, and nothing held up."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from core.tests.engine_fixture import TIMEOUT, EngineFixture, drain, for_a_while, running, until
from core.tests.scripted import Sink

from penstock.cli.feed import BACKLOG, Collector, Feed
from penstock.config.files import load
from penstock.config.model import QueueConfig
from penstock.config.resolve import registry_for, resolve_queue
from penstock.errors import ConfigError, ConnectorError, NotConnected, ProduceError
from penstock.message import QueueMessage
from penstock.observability.exposition import MetricsRegistry
from penstock.observability.health import Health
from penstock.queues.resolved_queue import ResolvedQueue
from penstock.serializers import Serializer
from penstock.worker.streams import keep_numbers


def resolver(queue: QueueConfig) -> Callable[[], ResolvedQueue]:
    def find() -> ResolvedQueue:
        configuration = load([queue])
        return resolve_queue(configuration, queue.name, "output", registry=registry_for(configuration))

    return find


async def unknown() -> int | None:
    return None


@pytest.fixture
def feeds() -> Iterator[Callable[..., Feed]]:
    """Makes feeds, and closes their files."""
    made: list[Feed] = []

    def make(path: Path | str, queue: QueueConfig, backlog: Any = unknown) -> Feed:
        made.append(Feed(str(path), resolver(queue), backlog))
        return made[-1]

    yield make
    for feed in made:
        feed.close()


def write(folder: Path, content: bytes) -> Path:
    file = folder / "in.jsonl"
    file.write_bytes(content)
    return file


# -- feeding


@pytest.mark.parametrize(
    ("content", "bodies"),
    [
        (b'{"a": 1}\n{"a":  2}\n', [b'{"a": 1}', b'{"a":  2}']),
        (b"1\n2", [b"1", b"2"]),
        (b"1\r\n2\r\n", [b"1", b"2"]),
        (b"\n1\n\n  \n2\n\n", [b"1", b"2"]),
        (b"\xef\xbb\xbf1\n2\n", [b"1", b"2"]),
        (b"", []),
        (b"\n\n", []),
        (b"not json \xff\n", [b"not json \xff"]),
    ],
    ids=["lines", "no last newline", "CRLF", "blank lines", "byte-order mark", "empty", "only blanks", "anything"],
)
def test_each_line_is_one_message(
    stand: EngineFixture, tmp_path: Path, feeds: Callable[..., Feed], content: bytes, bodies: list[bytes]
) -> None:
    """As it stands in the file; what it means is for the queue's reader to judge."""
    feed = feeds(write(tmp_path, content), stand.memory("in"))

    drain(feed)

    assert stand.bodies("in") == bodies
    assert feed.fed == len(bodies)


def test_a_file_of_many_pieces_is_fed_whole_and_in_order(
    stand: EngineFixture, tmp_path: Path, feeds: Callable[..., Feed]
) -> None:
    """Lines that lie across the pieces in which the file is read stay whole, also one of 20 MB."""
    lines = [b'{"n": %d, "pad": "%s"}' % (n, b"x" * (n % 700)) for n in range(5_000)]
    lines.insert(2_500, b'"' + b"y" * 20_000_000 + b'"')
    feed = feeds(write(tmp_path, b"\n".join(lines)), stand.memory("in"))

    drain(feed)

    assert stand.bodies("in") == lines


def test_a_queue_of_another_format_gets_its_own(
    stand: EngineFixture, tmp_path: Path, feeds: Callable[..., Feed]
) -> None:
    """The lines are parsed and serialized; msgpack comes from a plugin of its own."""
    msgpack = pytest.importorskip("msgpack")
    pytest.importorskip("penstock_msgpack")
    feed = feeds(write(tmp_path, b'{"a": [1, 2.5, null]}\n"x"\n'), stand.memory("in", serializer="msgpack"))

    drain(feed)

    assert [msgpack.unpackb(body) for body in stand.bodies("in")] == [{"a": [1, 2.5, None]}, "x"]


class Shouting(Serializer):
    """A format of our own: text, and nothing else."""

    format = "shouting"

    def serialize(self, data: Any) -> bytes:
        """Text in capitals."""
        if not isinstance(data, str):
            raise TypeError(f"no text but a {type(data).__name__}")
        return data.upper().encode()

    def deserialize(self, body: bytes) -> Any:
        """Back again."""
        return body.decode().lower()


def test_a_line_that_cannot_be_written_in_the_queues_format_is_named(
    stand: EngineFixture, tmp_path: Path, feeds: Callable[..., Feed]
) -> None:
    """File and number of the line, blank ones counted; never the line itself."""
    queue = stand.memory("in", serializer=Shouting, model_handler=None)
    wrong = feeds(write(tmp_path, b'"a"\n\nsecret-7731\n'), queue)
    with pytest.raises(ConfigError) as caught:
        drain(wrong)
    assert str(caught.value).startswith(f"--feed {tmp_path}/in.jsonl, line 3: it is not valid JSON: ")
    assert "secret" not in str(caught.value)

    unfit = feeds(write(tmp_path, b'"a"\n7\n'), queue)
    with pytest.raises(ConfigError) as caught:
        drain(unfit)
    assert str(caught.value) == (
        f"--feed {tmp_path}/in.jsonl, line 2: it cannot be written as shouting: no text but a int"
    )


def test_a_file_that_cannot_be_read_is_an_error_before_anything_runs(
    stand: EngineFixture, tmp_path: Path, feeds: Callable[..., Feed]
) -> None:
    """Missing, or a folder."""
    called: list[int] = []
    stand.numbers(1)
    engine = stand.engine(called.append, [])

    with pytest.raises(ConfigError) as caught:
        drain(engine, feeds(tmp_path / "nothing.jsonl", stand.memory("in")))

    assert str(caught.value) == (
        f"--feed {tmp_path}/nothing.jsonl: No such file or directory; give a file of JSON lines, or '-'"
    )
    with pytest.raises(ConfigError, match="Is a directory"):
        drain(feeds(tmp_path, stand.memory("in")))
    assert called == []


def test_a_record_that_is_refused_for_good_is_named_by_its_line(tmp_path: Path, feeds: Callable[..., Feed]) -> None:
    """And the run fails: data would be missing."""
    sink = Sink([None, ProduceError("too large", retriable=False)])
    feed = feeds(write(tmp_path, b"1\n\n2\n3\n"), sink.queue())

    with pytest.raises(ConnectorError) as caught:
        drain(feed)

    assert str(caught.value) == f"--feed {tmp_path}/in.jsonl, line 3: too large"


def test_a_queue_that_is_away_is_waited_for(tmp_path: Path, feeds: Callable[..., Feed]) -> None:
    """Connected again, sent again."""
    away = NotConnected("away", retry_after=0.05)
    sink = Sink(connect=[away], produce=[away])
    feed = feeds(write(tmp_path, b"1\n2\n"), sink.queue())

    drain(feed)

    assert (sink.bodies, feed.fed) == ([b"1", b"2"], 2)


def test_feeding_pauses_while_too_much_waits(stand: EngineFixture, tmp_path: Path, feeds: Callable[..., Feed]) -> None:
    """A large file is never all in memory: nothing is read while more than BACKLOG messages wait."""
    sink, waiting = Sink(), [0]

    async def backlog() -> int | None:
        return waiting[0]

    line = b'"' + b"x" * 1_000 + b'"\n'
    feed = feeds(write(tmp_path, line * 5_000), sink.queue(), backlog)

    async def main() -> None:
        waiting[0] = BACKLOG + 1
        async with running(feed):
            await until(lambda: feed.fed)
            first = feed.fed
            await for_a_while(0.2, lambda: feed.fed > first)
            waiting[0] = BACKLOG
            await until(lambda: feed.fed == 5_000)

    asyncio.run(main())


@pytest.fixture
def stdin() -> Iterator[int]:
    """A pipe in the place of standard input; the end to write to."""
    read, write_end = os.pipe()
    before = os.dup(0)
    os.dup2(read, 0)
    os.close(read)
    yield write_end
    os.dup2(before, 0)
    os.close(before)
    try:
        os.close(write_end)
    except OSError:
        return  # the test closed it: that is how a pipe ends


def test_what_comes_through_standard_input_is_fed_as_it_comes(
    stand: EngineFixture, feeds: Callable[..., Feed], stdin: int
) -> None:
    """Line by line, not when some buffer is full; the rest of a line may come later; the end is the end."""
    sink = Sink()

    async def main() -> None:
        async with running(feeds("-", sink.queue())) as run:
            os.write(stdin, b"1\n2")
            await until(lambda: sink.bodies == [b"1"])
            os.write(stdin, b"3\n4")
            await until(lambda: sink.bodies == [b"1", b"23"])
            os.close(stdin)
            await run.ended()

    asyncio.run(main())

    assert sink.bodies == [b"1", b"23", b"4"]


def reading() -> bool:
    """Whether a thread of a feed is left."""
    return any(thread.name == "penstock-feed" for thread in threading.enumerate())


@pytest.fixture
def pipe(tmp_path: Path, feeds: Callable[..., Feed]) -> Iterator[Path]:
    """A named pipe without a writer; at the end it gets one, which lets the reader's thread go before feeds close."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    yield path
    deadline = time.monotonic() + TIMEOUT
    while reading():
        assert time.monotonic() < deadline
        with suppress(OSError):  # the thread has not come to open it
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        time.sleep(0.005)


def test_a_pipe_without_a_writer_ends_in_order_at_a_signal(
    stand: EngineFixture, feeds: Callable[..., Feed], pipe: Path
) -> None:
    """It has not been opened yet, and is told as not begun."""
    feed = feeds(pipe, stand.memory("in"))

    async def main() -> None:
        async with running(feed) as run:
            # Otherwise the signal would end pytest.
            await until(lambda: reading() and signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
            await run.ended()

    asyncio.run(main())

    assert feed.left() == f"--feed {pipe} was not begun"


@pytest.mark.parametrize("taken", [False, True], ids=["closed", "its number is taken"])
@pytest.mark.usefixtures("stdin")
def test_standard_input_that_is_closed_is_refused(
    stand: EngineFixture, feeds: Callable[..., Feed], taken: bool
) -> None:
    """`--feed in=- <&-`, before anything runs."""
    os.close(0)
    if taken:
        keep_numbers()  # as a run does first

    with pytest.raises(ConfigError) as caught:
        feeds("-", stand.memory("in")).start(Health(), MetricsRegistry())

    assert str(caught.value) == "--feed -: Bad file descriptor; give a file of JSON lines, or '-'"


def test_a_stop_does_not_wait_for_standard_input(stand: EngineFixture, feeds: Callable[..., Feed], stdin: int) -> None:
    """A pipe on which nothing comes holds nothing up."""

    async def main() -> None:
        async with running(feeds("-", stand.memory("in"))) as run:
            await asyncio.sleep(0.05)
            started = time.monotonic()
            await run.stop()
            assert time.monotonic() - started < 1.0

    asyncio.run(main())
    os.close(stdin)  # and lets the reader's thread go


@pytest.mark.parametrize("where", ["connecting", "producing", "refused"])
def test_a_stop_does_not_wait_for_a_queue_that_is_away(tmp_path: Path, feeds: Callable[..., Feed], where: str) -> None:
    """What is being sent gets the shutdown timeout; a connection that does not come gets nothing."""
    for_ever = [NotConnected("away", retry_after=60)] * 10
    sink = Sink()
    if where == "connecting":
        sink = Sink(connect=for_ever)
    elif where == "producing":
        sink = Sink(produce=for_ever, connect=[None, *for_ever])
    else:
        sink = Sink([ProduceError("full")] * 1_000)
    feed = feeds(write(tmp_path, b"1\n"), sink.queue())

    async def main() -> None:
        async with running(feed, shutdown_timeout=0.3, connect_timeout=60) as run:
            await until(lambda: sink.count("connect" if where == "connecting" else "produce"))
            started = time.monotonic()
            await run.stop()
            assert time.monotonic() - started < 1.5

    asyncio.run(main())

    assert (feed.fed, sink.count("shutdown")) == (0, 1)


def test_a_stop_lets_a_chunk_that_is_being_sent_arrive(tmp_path: Path, feeds: Callable[..., Feed]) -> None:
    """Counted, and the file is left where it was."""
    sink = Sink()
    sink.open.clear()
    feed = feeds(write(tmp_path, b"1\n2\n"), sink.queue())

    async def main() -> None:
        async with running(feed) as run:
            await until(lambda: sink.count("produce"))
            run.worker.stop()
            asyncio.get_running_loop().call_later(0.1, sink.open.set)
            await run.ended()

    asyncio.run(main())

    assert (feed.fed, sink.bodies) == (2, [b"1", b"2"])


# -- collecting


def collected(folder: Path, serializer: Serializer | None, *messages: QueueMessage) -> list[bytes]:
    collector = Collector(str(folder / "out.jsonl"), serializer)
    collector([message.message for message in messages], list(messages))
    collector.close()
    return (folder / "out.jsonl").read_bytes().splitlines()


def message(body: bytes | None, key: bytes | None = None, headers: Any = ()) -> QueueMessage:
    return QueueMessage(None, body, key, headers)


def test_a_decoded_body_is_one_line(tmp_path: Path) -> None:
    """JSON as it came, digits and spaces included; on several lines it is put on one."""
    from penstock.builtin.json_serializer import JsonSerializer

    lines = collected(
        tmp_path,
        JsonSerializer(),
        message(b'{"a":  1.50}'),
        message(b'{\n"b": 2\n}'),
        message(b'"\\n"'),
        message(b"null"),
    )

    assert lines == [b'{"a":  1.50}', b'{"b":2}', b'"\\n"', b"null"]


def test_another_format_is_written_as_json(tmp_path: Path) -> None:
    """Whatever the queue's serializer reads."""
    assert collected(tmp_path, Shouting(), message(b"LOUD")) == [b'"loud"']


@pytest.mark.parametrize("body", [b"", b"not json", b'{"half":', b"\xff\xfe", None], ids=repr)
def test_a_body_that_is_not_of_the_queues_format_is_shown_as_it_is(tmp_path: Path, body: bytes | None) -> None:
    """Every line is JSON, whatever lies in the queue."""
    from penstock.builtin.json_serializer import JsonSerializer

    [line] = collected(tmp_path, JsonSerializer(), message(body, b"k", [("h", b"v"), ("h", b"\xff")]))

    shown = json.loads(line)
    found = base64.b64decode(shown["body_base64"]) if "body_base64" in shown else shown["body"]
    assert (found.encode() if isinstance(found, str) else found) == body
    assert (shown["key"], shown["headers"]) == ("k", [["h", "v"], ["h", "\\xff"]])


def test_without_a_serializer_a_line_is_body_key_and_headers(tmp_path: Path) -> None:
    """As dead letters are."""
    lines = collected(tmp_path, None, message(b'{"a": 1}'), message(b"\x00\xff", b"\xff"), message(None))

    assert [json.loads(line) for line in lines] == [
        {"body": '{"a": 1}'},
        {"body_base64": base64.b64encode(b"\x00\xff").decode(), "key_base64": base64.b64encode(b"\xff").decode()},
        {"body": None},
    ]


def test_what_is_collected_is_in_the_file_before_it_is_settled(stand: EngineFixture, tmp_path: Path) -> None:
    """A batch is in the file when the function returns; `test_collect.py` has more."""
    file = tmp_path / "out.jsonl"
    collector = Collector(str(file), None)

    collector([b"1"], [message(b"1")])

    assert file.read_bytes() == b'{"body":"1"}\n'
    collector.close()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Before anything runs."""
    with pytest.raises(ConfigError) as caught:
        Collector(str(tmp_path / "no" / "out.jsonl"), None)

    assert str(caught.value) == f"--collect {tmp_path}/no/out.jsonl: No such file or directory"


def test_the_threads_of_a_feed_end_with_it(stand: EngineFixture, tmp_path: Path, feeds: Callable[..., Feed]) -> None:
    """Nothing is left behind."""
    drain(feeds(write(tmp_path, b"1\n"), stand.memory("in")))

    deadline = time.monotonic() + TIMEOUT
    while reading():
        assert time.monotonic() < deadline
        time.sleep(0.005)
