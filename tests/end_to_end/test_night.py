"""A night on call: the database is away, a deployment fails for some orders; log and shell tell all of it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient
from tests.end_to_end.workers import APPS, Worker, wait_until, worker
from tests.servers.kafka.server import KafkaServer
from tests.servers.postgres import PostgresServer

from penstock.cli.main import main
from penstock.dead_letters import REPLAYS
from penstock.message import Record
from penstock.operations import open as open_queue

OUTAGE = float(os.environ.get("PENSTOCK_TEST_OUTAGE", "4"))  # seconds; 60 for the night as it was told
SCREEN = 60  # lines
FORMS = ["text", "json"] if "PENSTOCK_TEST_OUTAGE" in os.environ else ["text"]
ORDERS = 60  # in each of the three parts of the night

CONFIG = """
queues:
  - {{name: orders, profile: confluent, value: {orders}, config: {{bootstrap.servers: "{kafka}", group.id: {group}}}}}
  - {{name: bookings, profile: postgres, config: {{dsn: "{dsn}", create: true}}}}
  - {{name: rejects, profile: confluent-dlq, value: {rejects}, config: {{bootstrap.servers: "{kafka}"}}}}
engine: {{retry: {{initial_delay: 0.01}}}}
worker: {{metrics_port: none}}
"""


class Night:
    """The folder of the worker, the orders that were sent, and what became of them."""

    def __init__(self, folder: Path, kafka: KafkaServer, postgres: PostgresServer) -> None:
        self.folder = folder
        self.config = str(folder / "queues.yml")
        self.sent: list[int] = []
        orders, rejects = kafka.topic(partitions=1), kafka.topic(partitions=1)
        self._group = f"group-{orders}"
        self._admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
        self._offsets = [TopicPartition(orders, 0)]
        names = {"orders": orders, "rejects": rejects, "group": self._group}
        text = CONFIG.format(kafka=kafka.bootstrap, dsn=postgres.fresh(), **names)
        (folder / "queues.yml").write_text(text)
        asyncio.run(self._create_table())

    async def _create_table(self) -> None:
        async with open_queue.publish(self.config, "bookings"):
            pass

    def order(self, count: int) -> None:
        """Send orders; every tenth is a refund."""
        first = len(self.sent)
        numbers = range(first, first + count)
        self.sent += numbers

        async def send() -> None:
            async with open_queue.publish(self.config, "orders") as queue:
                bodies = [{"n": number, "kind": "refund" if number % 10 == 0 else "sale"} for number in numbers]
                assert not await queue.produce([Record(json.dumps(body).encode()) for body in bodies])

        asyncio.run(send())

    def seen(self, name: str) -> list[Any]:
        """All messages of a queue."""

        async def look() -> list[Any]:
            async with open_queue.browse(self.config, name) as queue:
                return [opened.message async for opened in queue.messages()]

        return asyncio.run(look())

    def booked(self) -> Counter[int]:
        """How often each order was booked."""
        return Counter(json.loads(message.message)["n"] for message in self.seen("bookings"))

    def committed(self) -> tuple[int, str | None]:
        """The offset of the worker's group, and the text beside it."""
        asked = ConsumerGroupTopicPartitions(self._group, self._offsets)
        [found] = self._admin.list_consumer_group_offsets([asked]).values()
        [offset] = found.result().topic_partitions
        return offset.offset, offset.metadata

    def counted(self) -> list[object]:
        """All that a look from another shell might change: messages, states, attempts, and the group's offset."""
        queues = [
            [(message.position, message.state, message.attempts) for message in self.seen(name)]
            for name in ("orders", "bookings", "rejects")
        ]
        return [*queues, self.committed()]


def shell(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command of another shell prints, on both streams."""
    capfd.readouterr()
    assert main(list(arguments)) == 0
    out, err = capfd.readouterr()
    return out + err


def booked(night: Night, numbers: Sequence[int], workers: Sequence[Worker]) -> None:
    """Wait until these orders are booked."""
    wait_until(lambda: set(numbers) <= set(night.booked()), "the bookings", workers)


def lines_of(log: str, form: str) -> list[str]:
    """The messages of a log, a string each; of a JSON log, each line has to be an object."""
    lines = [line for line in log.splitlines() if line]
    return [json.loads(line)["message"] for line in lines] if form == "json" else lines


@pytest.mark.timeout(300 + 2 * OUTAGE)
@pytest.mark.parametrize("form", FORMS)
def test_a_night_on_call(
    form: str, real_kafka: KafkaServer, postgres: PostgresServer, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The log fits on one screen and says all; looking changes nothing; the mended function gets each letter once."""
    night = Night(tmp_path, real_kafka, postgres)
    command = [APPS / "night.py", "--config", "queues.yml", "--log-format", form]
    logs: list[str] = []

    with worker(*command, cwd=tmp_path) as running:
        night.order(ORDERS)
        booked(night, night.sent, [running])
        postgres.stop()
        night.order(ORDERS)
        wait_until(lambda: "connecting again" in running.output, "a line about the outage", [running])
        time.sleep(OUTAGE)  # the outage itself, not a wait for something
        postgres.start()
        booked(night, night.sent, [running])
        wait_until(lambda: "connected again after" in running.output, "the end of the outage", [running])
        assert running.stop(30)[0] == 0
        logs.append(running.output)

    monkeypatch.setenv("BROKEN", "1")
    with worker(*command, cwd=tmp_path) as running:
        night.order(ORDERS)
        refunds = [number for number in night.sent[2 * ORDERS :] if number % 10 == 0]
        booked(night, [number for number in night.sent if number not in refunds], [running])
        wait_until(lambda: len(night.seen("rejects")) == len(refunds), "the dead letters", [running])
        wait_until(lambda: night.committed()[0] == len(night.sent), "the worker's own commit", [running])
        before = night.counted()
        told = shell(capfd, "dead-letters", night.config, "rejects", "list")
        assert re.search(rf"{len(refunds)} +function +KeyError +\S+ +till ", told)
        assert "'amount'" in shell(capfd, "dead-letters", night.config, "rejects", "show", "-n", "1")
        assert '"kind": "refund"' in shell(capfd, "queue", night.config, "peek", "rejects", "-n", "1")
        assert f"{len(refunds)} letters of rejects would go to orders" in shell(
            capfd, "dead-letters", night.config, "rejects", "replay", "--dry-run"
        )
        lag = shell(capfd, "queue", night.config, "lag", "--json")
        waiting = {each["queue"]: each["waiting"] for each in map(json.loads, lag.splitlines())}
        assert (waiting["orders"], waiting["bookings"]) == (0, len(night.booked()))
        assert night.counted() == before
        assert running.stop(30)[0] == 0
        logs.append(running.output)

    monkeypatch.delenv("BROKEN")
    with worker(*command, cwd=tmp_path) as running:
        replay = shell(capfd, "dead-letters", night.config, "rejects", "replay")
        assert replay == f"{len(refunds)} letters replayed\n"
        booked(night, night.sent, [running])
        assert running.stop(30)[0] == 0
        logs.append(running.output)

    counts = night.booked()
    assert sorted(counts) == night.sent, "lost"
    assert {counts[number] for number in refunds} == {1}
    assert [dict(message.headers).get(REPLAYS) for message in night.seen("orders")].count(b"1") == len(refunds)
    assert "rejects: 0 letters" in shell(capfd, "dead-letters", night.config, "rejects", "list")

    night_log = "".join(logs)
    (tmp_path / "night.log").write_text(night_log)
    print(night_log)
    print(f"sent {len(night.sent)}, booked {len(counts)}, twice {counts.total() - len(counts)}, lost 0")
    said = lines_of(night_log, form)
    assert len(night_log.splitlines()) <= SCREEN
    _in_order(
        said,
        [
            "starting Penstock",
            "at work",
            "connecting again",
            "connected again after",
            "SIGTERM",
            "starting Penstock",
            "KeyError",
            "dead-lettered",
            "starting Penstock",
            f"{len(refunds)} received, {len(refunds)} succeeded",
        ],
    )


def _in_order(said: Sequence[str], wanted: Sequence[str]) -> None:
    """Assert that each of these is in a line, one after the other."""
    rest = iter(said)
    for text in wanted:
        assert any(text in line for line in rest), f"{text!r} is not said in its place, in:\n" + "\n".join(said)
