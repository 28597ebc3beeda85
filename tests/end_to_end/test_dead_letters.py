"""`penstock dead-letters` on every backend: looks without a change; replays once each, in order, also after a kill."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.servers.kafka.server import KafkaServer
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer

from penstock.cli.main import main
from penstock.dead_letters import MESSAGE_ID, REPLAYS, dead_letter
from penstock.message import QueueMessage, Record
from penstock.operations import open as open_queue
from penstock.operations.letters import dead_letter_queue
from penstock.queues.browsing import BrowsedQueue, OpenedMessage

LETTERS = int(os.environ.get("PENSTOCK_TEST_LETTERS", "300"))  # 10,000 for the long form
KILLED_RATE = 400  # letters a second of the replay that is killed; a quarter of them is a batch
BACKENDS = ("sqlite", "postgres", "rsmq", "kafka")
pytestmark = pytest.mark.timeout(180 + LETTERS // 20)

MENDED = """
from penstock import Engine

app = Engine("orders", ["done"], app_name="stock", dead_letter_queue="rejects", config="queues.yml")

@app.stream_app
def mended(order: dict[str, int]):
    return ("done", order)
"""


@dataclass(frozen=True)
class Shop:
    """A folder whose `queues.yml` has the queues `orders`, `rejects` and `done` on one backend.

    Attributes:
        name: The backend's.
        folder: Where `queues.yml` is.
        orders: The backend's name of `orders`.
        twice: How many letters may come twice after a kill: what was sent and not settled.
    """

    name: str
    folder: Path
    orders: str
    twice: int

    @property
    def profile(self) -> str:
        """The profile of JSON on this backend."""
        return "confluent" if self.name == "kafka" else self.name

    @property
    def config(self) -> str:
        """The configuration's path."""
        return str(self.folder / "queues.yml")

    def letters(self, numbers: Sequence[int], **about: str) -> list[Record]:
        """Dead letters, which died one after the other, of messages with a key and a header."""
        return [
            dead_letter(
                QueueMessage(
                    None, b'{"n": %d}' % number, b"%d" % number, [("h", b"%d" % number)], position=f"at-{number}"
                ),
                stage=about.get("stage", "function"),
                error=ValueError("less than nothing"),
                attempts=3,
                queue=self.orders,
                app="stock",
                now=1_700_000_000 + number / 100,
            )
            for number in numbers
        ]

    def publish(self, name: str, records: Sequence[Record]) -> None:
        """Put records into a queue."""

        async def send() -> None:
            async with open_queue.publish(self.config, name) as queue:
                assert not await queue.produce(records)

        asyncio.run(send())

    def seen(self, name: str) -> list[OpenedMessage]:
        """All messages of a queue."""

        async def look() -> list[OpenedMessage]:
            async with open_queue.browse(self.config, name) as queue:
                return [opened async for opened in queue.messages()]

        return asyncio.run(look())

    def numbers(self, name: str) -> list[int]:
        """The numbers in the messages of a queue, in its order."""
        return [json.loads(opened.message.message or b"")["n"] for opened in self.seen(name)]

    def left(self) -> list[tuple[int, int, str]]:
        """Of each letter that is not settled for the tools: its number, its attempts and its state."""

        async def look() -> list[tuple[int, int, str]]:
            async with BrowsedQueue(dead_letter_queue(self.config, "rejects")) as queue:
                return [
                    (json.loads(each.message.message or b"")["n"], each.message.attempts, each.message.state)
                    async for each in queue.messages()
                    if each.message.state != "settled"
                ]

        return sorted(asyncio.run(look()))

    def command(self, *arguments: str) -> int:
        """`penstock dead-letters queues.yml rejects …`; its exit code."""
        return main(["dead-letters", self.config, "rejects", *arguments])


@pytest.fixture(params=BACKENDS)
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    """An empty shop on each backend."""
    name, orders, twice = request.param, "orders", KILLED_RATE // 4
    if name == "sqlite":
        queues, twice = dict.fromkeys(QUEUES, f"profile: sqlite-dlq, config: {{path: {tmp_path}/shop.db}}"), 0
    elif name == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        dsn = server.fresh()
        queues = dict.fromkeys(QUEUES, f"profile: postgres-dlq, config: {{dsn: '{dsn}', create: true, lease: 3}}")
        twice = 0
    elif name == "rsmq":
        redis: RedisServer = request.getfixturevalue("redis_server")
        names = {queue: redis.queue() for queue in QUEUES}
        orders = names["orders"]
        queues = {
            queue: f"profile: rsmq-dlq, value: {value}, "
            f"config: {{host: {redis.host}, port: {redis.port}, vt: 3, create: true}}"
            for queue, value in names.items()
        }
    else:
        kafka: KafkaServer = request.getfixturevalue("real_kafka")
        names = {queue: kafka.topic(partitions=3 if queue == "rejects" else 1) for queue in QUEUES}
        orders, twice = names["orders"], 3 * KILLED_RATE // 4  # a commit is on its way for a moment
        queues = {
            queue: f"profile: confluent-dlq, value: {value}, "
            f"config: {{bootstrap.servers: '{kafka.bootstrap}', group.id: worker-{value}}}"
            for queue, value in names.items()
        }
    text = "".join(f"  - {{name: {queue}, {keys}}}\n" for queue, keys in queues.items())
    (tmp_path / "queues.yml").write_text(f"queues:\n{text}worker: {{metrics_port: none}}\n")
    for queue in QUEUES:
        if name in ("postgres", "rsmq", "sqlite"):
            asyncio.run(_create(str(tmp_path / "queues.yml"), queue))
    return Shop(name, tmp_path, orders, twice)


QUEUES = ("orders", "rejects", "done")


async def _create(config: str, queue: str) -> None:
    async with open_queue.publish(config, queue):
        pass


def test_letters_are_replayed_once_each_in_the_order_of_their_death(
    shop: Shop, capfd: pytest.CaptureFixture[str]
) -> None:
    """To look at them and to plan changes nothing; then each is sent once, through a mended function too."""
    shop.publish("rejects", shop.letters(range(LETTERS)))
    before = shop.left()
    assert shop.command("list", "--json") == 0
    [group] = json.loads(capfd.readouterr().out)["groups"]
    assert (group["count"], group["stage"], group["error"], group["app"]) == (
        LETTERS,
        "function",
        "ValueError",
        "stock",
    )
    assert shop.command("show", f"{shop.orders}:at-7") == 0
    assert '{"n": 7}' in capfd.readouterr().out
    assert shop.command("replay", "--dry-run") == 0
    assert f"{LETTERS:,} letters of rejects would go to orders" in capfd.readouterr().out
    assert shop.left() == before
    assert shop.numbers("orders") == []

    started = time.monotonic()
    assert shop.command("replay") == 0
    took = time.monotonic() - started

    printed = capfd.readouterr().err
    assert printed == f"{LETTERS:,} letters replayed\n"
    assert shop.left() == []
    replayed = shop.seen("orders")
    assert [json.loads(each.message.message or b"")["n"] for each in replayed] == list(range(LETTERS))
    headers = dict(replayed[7].message.headers)
    assert headers == {"h": b"7", MESSAGE_ID: f"{shop.orders}:at-7".encode(), REPLAYS: b"1"}
    assert replayed[7].message.key == b"7"
    assert shop.command("replay") == 0
    assert capfd.readouterr().err == "0 letters replayed\n"
    print(f"{shop.name}: {LETTERS:,} letters replayed in {took:.1f} s")


def test_a_mended_function_gets_each_replayed_letter_once(shop: Shop) -> None:
    """What is replayed goes through the function to its output, and no letter comes back."""
    shop.publish("rejects", shop.letters(range(20)))
    assert shop.command("replay") == 0
    text = (shop.folder / "queues.yml").read_text()
    for queue in ("orders", "done"):
        text = text.replace(f"name: {queue}, profile: {shop.profile}-dlq", f"name: {queue}, profile: {shop.profile}")
    (shop.folder / "mended.yml").write_text(text)
    app = shop.folder / "mended.py"
    app.write_text(MENDED.replace("queues.yml", str(shop.folder / "mended.yml")))
    assert main(["run", str(app), "--drain"]) == 0
    assert Counter(shop.numbers("done")) == Counter(range(20))
    assert shop.left() == []


def test_a_replay_that_was_killed_goes_on(shop: Shop, capfd: pytest.CaptureFixture[str]) -> None:
    """No letter is lost; at most those that were sent and not settled come twice, each with its id."""
    count = max(LETTERS, 1_000)
    shop.publish("rejects", shop.letters(range(count)))
    command = [sys.executable, "-m", "penstock.cli.main", "dead-letters", shop.config, "rejects", "replay", "--rate"]
    with subprocess.Popen([*command, f"{KILLED_RATE}/s"], stderr=subprocess.PIPE) as running:
        deadline = time.monotonic() + 60
        while len(shop.seen("orders")) < count // 5:
            assert running.poll() is None, (running.stderr.read() if running.stderr else b"").decode()
            assert time.monotonic() < deadline
        running.send_signal(signal.SIGKILL)
    assert len(shop.seen("orders")) < count
    capfd.readouterr()

    assert shop.command("replay") == 0

    assert shop.left() == []
    seen = Counter(shop.numbers("orders"))
    assert sorted(seen) == list(range(count))
    assert seen.total() - count <= shop.twice
    ids = {dict(each.message.headers)[MESSAGE_ID] for each in shop.seen("orders")}
    assert len(ids) == count


@pytest.mark.parametrize("shop", ["sqlite", "kafka"], indirect=True)
def test_a_replay_that_is_interrupted_goes_on(shop: Shop) -> None:
    """Ctrl-C lets the batch end: each letter is sent once, and the command says how many are left."""
    shop.publish("rejects", shop.letters(range(100)))
    command = [
        sys.executable,
        "-m",
        "penstock.cli.main",
        "dead-letters",
        shop.config,
        "rejects",
        "replay",
        "--rate",
        "40",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + 60
        while not shop.seen("orders"):
            assert running.poll() is None
            assert time.monotonic() < deadline
        running.send_signal(signal.SIGINT)
        _out, told = running.communicate(timeout=60)
    assert running.returncode == 130, told
    assert "the same command goes on" in told

    assert shop.command("replay") == 0

    assert shop.numbers("orders") == list(range(100))


def test_what_was_not_chosen_stays_as_it_is(shop: Shop, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither its attempts nor its place change, and it can be replayed later."""
    shop.publish("rejects", shop.letters(range(0, 60, 2)))
    shop.publish("rejects", shop.letters(range(1, 60, 2), stage="decode"))
    others = [each for each in shop.left() if each[0] % 2 == 0]

    assert shop.command("replay", "--stage", "decode") == 0

    assert shop.numbers("orders") == list(range(1, 60, 2))
    assert shop.left() == others
    capfd.readouterr()
    assert shop.command("drop", "--id", f"{shop.orders}:at-0", "--yes") == 0
    assert "1 letter dropped" in capfd.readouterr().err
    assert shop.command("replay") == 0
    assert shop.numbers("orders") == [*range(1, 60, 2), *range(2, 60, 2)]
    assert shop.left() == []


@pytest.mark.parametrize("shop", ["rsmq", "kafka"], indirect=True)
def test_a_letter_that_dies_again_meanwhile_is_not_replayed_in_the_same_run(shop: Shop) -> None:
    """A replay works off the letters that were there when it began, so it comes to an end."""
    shop.publish("rejects", shop.letters(range(40)))
    command = [
        sys.executable,
        "-m",
        "penstock.cli.main",
        "dead-letters",
        shop.config,
        "rejects",
        "replay",
        "--rate",
        "40",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        while not shop.seen("orders"):
            assert running.poll() is None
        shop.publish("rejects", shop.letters(range(40, 50)))
        assert running.wait(60) == 0
    assert shop.numbers("orders") == list(range(40))
    assert [number for number, _attempts, _state in shop.left()] == list(range(40, 50))


def test_letters_are_exported_before_they_are_settled(shop: Shop, capfd: pytest.CaptureFixture[str]) -> None:
    """With --keep nothing changes; without, they are in the file alone, and come back byte for byte."""
    awkward = dead_letter(
        QueueMessage(None, b"\x00\xff\n{", b"\xfe", [("h", b"\x80"), ("h", b"two\nlines")], position="9"),
        stage="decode",
        error=ValueError("x"),
        attempts=1,
        queue=shop.orders,
        app="stock",
        now=1_700_000_000,
    )
    shop.publish("rejects", [awkward])
    copy, moved = str(shop.folder / "copy.jsonl"), str(shop.folder / "moved.jsonl")
    before = shop.seen("rejects")
    assert shop.command("export", copy, "--keep") == 0
    assert [each.message.state for each in shop.seen("rejects")] == [each.message.state for each in before]
    assert shop.command("export", moved) == 0
    assert Path(moved).read_bytes() == Path(copy).read_bytes()
    assert shop.command("list") == 0
    assert "rejects: 0 letters" in capfd.readouterr().out

    assert shop.command("replay", "--from", moved) == 0

    [back] = shop.seen("orders")
    assert (back.message.message, back.message.key) == (b"\x00\xff\n{", b"\xfe")
    assert list(back.message.headers)[:2] == [("h", b"\x80"), ("h", b"two\nlines")]
    assert shop.command("replay", "--from", moved) == 0  # it was sent, which the file beside it says
    assert len(shop.seen("orders")) == 1
    assert "were sent before" in capfd.readouterr().err


@pytest.mark.parametrize("shop", ["sqlite"], indirect=True)
def test_a_terminal_shows_a_bar(shop: Shop) -> None:
    """A pipe shows none: see the first test, which compares all that a replay prints there."""
    pytest.importorskip("rich")
    shop.publish("rejects", shop.letters(range(100)))
    command = [
        sys.executable,
        "-m",
        "penstock.cli.main",
        "dead-letters",
        shop.config,
        "rejects",
        "replay",
        "--rate",
        "100",
    ]
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    environment = os.environ | {"TERM": "xterm-256color"}
    with subprocess.Popen(command, stderr=theirs, env=environment) as running:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # Linux raises when the last writer has gone
            while piece := os.read(ours, 4_096):
                shown += piece
        assert running.wait(60) == 0
    os.close(ours)
    assert b"replay rejects" in shown
    assert b" of 100" in shown
    assert b"100 letters replayed" in shown
