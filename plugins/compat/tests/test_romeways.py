"""Romeways's names: its example as its document prints it, processes that die, connectors of one's own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from penstock_compat import romeways
from penstock_compat.romeways import registry
from penstock_compat.romeways.processes import Processes

SECONDS = 120.0  # for anything that must happen

# The document's example, to the letter but for the package's name and the body of the handler; then, as the pages of
# its connectors have it, the start.
EXAMPLE = """
from multiprocessing import Queue

import penstock_compat.romeways as romeways

# Config the connector
queue = Queue()

# Create a queue config
config_q = romeways.MemoryQueueConfig(
    connector_name="memory-dev1", 
    queue=queue
)

# Register a controller/consumer for the queue name
@romeways.queue_consumer(queue_name="queue.payment.done", config=config_q)
async def controller(message: romeways.Message):
    print(os.getpid() == parent, message, flush=True)
    if message.rw_resend_times < 2:
        raise romeways.ResendException("not yet")

config_p = romeways.MemoryConnectorConfig(connector_name="memory-dev1")

# Register a connector
romeways.connector_register(
    connector=romeways.MemoryQueueConnector, config=config_p, spawn_process=True
)
"""  # noqa: W291

KILLED = """
import asyncio, os
import penstock_compat.romeways as romeways
from penstock import BlockingQueues

settings = {"connector": "sqlite", "config": {"path": "shop.db"}}
config = romeways.GenericQueueConfig(connector_name="shop", frequency=0, max_chunk_size=40, sequential=False)


def say(word, message):
    os.write(1, f"{os.getpid()} {word} {message.payload}\\n".encode())


@romeways.queue_consumer(queue_name="orders", config=config)
async def handle(message: romeways.Message) -> None:
    say("begins", message)
    await asyncio.sleep(0.2)
    say("handled", message)


romeways.connector_register(
    romeways.PenstockConnector, romeways.PenstockConnectorConfig("shop", settings), spawn_process=True
)

if __name__ == "__main__":
    with BlockingQueues({"orders": {**settings, "serializer": "text", "model_handler": None}}) as queues:
        queues.send_batch("orders", [f"order-{number}" for number in range(80)])
    asyncio.run(romeways.start(processes=4))
"""


class Program:
    """A program that runs until it is stopped, and the lines that it prints."""

    def __init__(self, folder: Path, text: str) -> None:
        (folder / "app.py").write_text(text)
        self.output = folder / "printed"
        with self.output.open("w") as printed, (folder / "log").open("w") as log:
            self.process = subprocess.Popen([sys.executable, "app.py"], cwd=folder, stdout=printed, stderr=log)

    def lines(self) -> list[str]:
        """What was printed so far."""
        return self.output.read_text().splitlines()

    def wait_for(self, count: int, word: str) -> list[str]:
        """Wait until so many different lines end as those with this word do."""
        until = time.monotonic() + SECONDS
        while len(found := {line.partition(" ")[2] for line in self.lines() if word in line}) < count:
            assert self.process.poll() is None, self.output.with_name("log").read_text()
            assert time.monotonic() < until, (found, self.output.with_name("log").read_text())
            time.sleep(0.05)
        return sorted(found)

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(SECONDS)
        finally:
            self.process.kill()


PAGE = Path(__file__).parents[3] / "docs" / "how_to" / "from_romeways.md"


def test_the_documents_example_runs_with_the_packages_name_changed(tmp_path: Path) -> None:
    """In a process of its own, and a handler that raises the resend exception twice is called a third time."""
    start = """
if __name__ == "__main__":
    queue.put(b"paid")
import asyncio
asyncio.run(romeways.start())
"""
    head = "import os\nparent = int(os.environ.setdefault('EXAMPLE_PARENT', str(os.getpid())))\n"
    program = Program(tmp_path, head + EXAMPLE + start)
    try:
        found = program.wait_for(3, "Message")
    finally:
        code = program.stop()

    assert found == [f"Message(payload='paid', rw_resend_times={times})" for times in range(3)]
    assert {line.partition(" ")[0] for line in program.lines()} == {"False"}
    assert code == 0
    assert "is lost if it is killed" in (tmp_path / "log").read_text()


def test_the_pages_example_runs(tmp_path: Path) -> None:
    """As it stands in the manual."""
    program = Program(tmp_path, PAGE.read_text().partition("```python title=controller.py\n")[2].partition("```")[0])
    try:
        assert program.wait_for(3, "paid") == ["0", "1", "2"]
    finally:
        code = program.stop()

    assert code == 0


def test_a_process_that_is_killed_is_replaced_and_nothing_is_lost(tmp_path: Path) -> None:
    """One of four, with messages in its hands."""
    program = Program(tmp_path, KILLED)
    try:
        program.wait_for(40, "begins")
        os.kill(int(program.lines()[0].partition(" ")[0]), signal.SIGKILL)
        handled = program.wait_for(80, "handled")
    finally:
        code = program.stop()

    assert handled == sorted(f"handled order-{number}" for number in range(80))
    assert len({line.partition(" ")[0] for line in program.lines()}) == 5
    assert code == 0


class Listed(romeways.AQueueConnector):
    """A connector of one's own, as Romeways has them."""

    messages: list[bytes]
    started = 0

    async def on_start(self) -> None:
        type(self).started += 1

    async def get_messages(self, max_chunk_size: int) -> list[bytes]:
        found, self.messages[:] = self.messages[:max_chunk_size], self.messages[max_chunk_size:]
        return found

    async def send_messages(self, message: bytes) -> None:
        self.messages.append(message)


@pytest.fixture
def _nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_handlers", [])
    monkeypatch.setattr(registry, "_connectors", {})


@pytest.mark.usefixtures("_nothing_registered")
def test_a_connector_of_ones_own_and_what_is_not_settled_at_the_end() -> None:
    """A message whose handler fails is sent back; one that is sent again goes to the tail; the rest is handled."""
    asyncio.run(_run_a_connector_of_ones_own())


async def _run_a_connector_of_ones_own() -> None:
    Listed.messages = [b"bad", b"again", b"good"]
    config = romeways.GenericQueueConfig("own", 0, 1, sequential=True)
    seen: list[tuple[str, int]] = []
    done = asyncio.Event()

    @romeways.queue_consumer(queue_name="q", config=config)
    async def handler(message: romeways.Message) -> None:
        seen.append((message.payload, message.rw_resend_times))
        if ("again", 1) in seen and ("good", 0) in seen and seen.count(("bad", 0)) > 1:
            done.set()
        if message.payload == "bad":
            raise ValueError
        if seen[-1] == ("again", 0):
            raise romeways.ResendException

    romeways.connector_register(connector=Listed, config=romeways.GenericConnectorConfig("own"), spawn_process=False)
    running = asyncio.create_task(romeways.start(retry={"max_attempts": 1, "max_delay": 0.01, "initial_delay": 0.01}))
    await asyncio.wait_for(done.wait(), SECONDS)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert seen.index(("good", 0)) < seen.index(("again", 1))
    assert Listed.messages == [b"bad"]
    assert Listed.started == 1


@pytest.mark.usefixtures("_nothing_registered")
def test_what_cannot_run_is_refused() -> None:
    """Where it is registered, or at the start."""
    config = romeways.GenericQueueConfig("absent", 1, 10, sequential=False)
    with pytest.raises(TypeError, match="async function"):
        romeways.queue_consumer("q", config)(lambda _message: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match="not a GenericQueueConfig"):
        romeways.queue_consumer("q", object())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="derived from AQueueConnector"):
        romeways.connector_register(object, config, spawn_process=False)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"needs queue="):
        romeways.MemoryQueueConfig("c")

    @romeways.queue_consumer("q", config)
    async def handler(_message: romeways.Message) -> None: ...

    with pytest.raises(LookupError, match="'absent'"):
        asyncio.run(romeways.start())


@pytest.mark.parametrize("body", [b"text", b"3", b"[1]", b'{"payload": "p"}', b'{"a": 1}'])
def test_a_body_that_is_not_a_message_sent_again_is_its_payload(body: bytes) -> None:
    """And what is sent again comes back."""
    message = romeways.Message.from_message(body)

    assert (message.payload, message.rw_resend_times) == (body.decode(), 0)
    again = message.raise_resend_counter()
    assert romeways.Message.from_message(again.to_json()) == romeways.Message(body.decode(), 1)


async def blocks_on_one(message: romeways.Message) -> None:
    """Runs in a process: the first message blocks it, so that it reads no other meanwhile."""
    if message.payload == "first":
        time.sleep(1.0)


def test_a_handler_that_blocks_its_process_does_not_stop_the_worker() -> None:
    """The pipe is full then: the worker's event loop turns, for leases and for other queues."""
    turns: list[float] = []

    async def main() -> None:
        with Processes(1) as processes:
            await processes.call(blocks_on_one, b"started")
            # Its process reads one more while the first one blocks it.
            bodies = (b"first", bytes(5_000_000), bytes(5_000_000))
            calls = asyncio.gather(*(processes.call(blocks_on_one, body) for body in bodies))
            while not calls.done():
                turns.append(time.monotonic())
                await asyncio.sleep(0.005)
            assert await calls == [None] * 3

    asyncio.run(main())

    assert max(later - earlier for earlier, later in pairwise(turns)) < (turns[-1] - turns[0]) / 2
