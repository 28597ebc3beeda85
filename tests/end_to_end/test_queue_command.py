"""`penstock queue` on real servers: created, published, counted, looked at, and nothing that a worker would notice."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from tests.servers.kafka.server import KafkaServer
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer

from penstock.cli.main import main
from penstock.queues.packing import open_envelope
from penstock.standalone import InputQueue, resolve


class Shell:
    """`penstock queue` on a configuration with one queue, `orders`.

    Args:
        settings: Of the queue.
        capsys: Where the output is.
    """

    def __init__(self, settings: Mapping[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
        self.settings = settings
        self._capsys = capsys
        Path("queues.yml").write_text(json.dumps({"queues": {"orders": settings}}))

    def __call__(self, *words: str) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        code = main(["queue", "queues.yml", *words])
        out, err = self._capsys.readouterr()
        return code, out, err

    def json(self, *words: str) -> list[dict[str, Any]]:
        """The objects that it prints."""
        code, out, err = self(*words, "--json")
        assert code == 0, err
        return [json.loads(line) for line in out.splitlines()]


@pytest.fixture
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Of a queue that does not exist, on the server that the test asks for."""
    name = f"orders-{uuid.uuid4().hex[:8]}"
    if request.param == "kafka":
        server: KafkaServer = request.getfixturevalue("real_kafka")
        config = {"bootstrap.servers": server.bootstrap, "group.id": f"group-{name}", "topic": {"partitions": 3}}
        return {"profile": "kafka", "value": name, "config": config}
    if request.param == "rsmq":
        redis: RedisServer = request.getfixturevalue("redis_server")
        return {"profile": "rsmq", "value": name, "config": {"url": redis.url, "create": False}}
    if request.param == "postgres":
        postgres: PostgresServer = request.getfixturevalue("postgres")
        config = {"dsn": postgres.dsn, "table": name.replace("-", "_")}
        return {"profile": "postgres", "value": name, "config": config}
    return {"profile": "sqlite", "value": name, "config": {"path": str(tmp_path / "queues.db")}}


@pytest.fixture
def shell(
    settings: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Shell:
    """A folder with the configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return Shell(settings, capsys)


EVERY_SERVER = pytest.mark.parametrize("settings", ["kafka", "rsmq", "postgres", "sqlite"], indirect=True)


async def take(settings: Mapping[str, Any]) -> list[tuple[Any, int]]:
    """What a worker gets: bodies and attempts."""
    async with InputQueue(resolve(settings, "input")) as queue:
        taken: list[tuple[Any, int]] = []
        while len(taken) < 3:
            found = await queue.consume(3, 30.0)
            for message in found:
                open_envelope(message)
            taken += [(queue.decode(message.message).n, message.attempts) for message in found]
            await queue.on_success(found)
        return taken


@EVERY_SERVER
def test_a_queue_from_nothing_to_its_first_worker(shell: Shell) -> None:
    """Missing, created, there; published, counted, looked at; and then all is still there for a worker, never tried."""
    code, out, err = shell("peek", "orders")
    assert (code, out) == (1, "")
    assert err.startswith("penstock: queue 'orders' (queues.yml:1), ")
    code, out, err = shell("create")
    assert (code, err) == (0, "")
    assert out.startswith("queue 'orders': created: ")
    assert shell("create")[1].startswith("queue 'orders': exists already: ")

    Path("orders.jsonl").write_text("".join(f'{{"n": {number}}}\n' for number in range(3)))
    code, out, err = shell("publish", "orders", "orders.jsonl", "--key", "k", "--header", "source=shell")
    assert (code, err) == (0, "")
    assert out.endswith(": 3 messages stored\n")
    for _time in range(2):
        (counts,) = shell.json("lag", "orders")
        assert (counts["waiting"], counts["error"]) == (3, None)
        assert counts["oldest"] is not None
        seen = shell.json("peek", "orders")
        assert sorted(each["body"]["n"] for each in seen) == [0, 1, 2]
        assert {(each["key"], each["attempts"], *each["headers"][0]) for each in seen} == {("k", 0, "source", "shell")}

    assert sorted(asyncio.run(take(shell.settings))) == [(0, 1), (1, 1), (2, 1)]
    (counts,) = shell.json("lag", "orders")
    assert (counts["waiting"], counts["oldest"]) == (0, None)


@pytest.mark.parametrize("settings", ["kafka"], indirect=True)
def test_no_group_of_kafka_comes_to_be(shell: Shell) -> None:
    """Neither the one of the configuration, whose lag is counted, nor another one."""
    shell("create")
    shell("publish", "orders", '{"n": 1}')
    shell.json("lag")
    shell.json("peek", "orders")

    admin = AdminClient({"bootstrap.servers": shell.settings["config"]["bootstrap.servers"]})
    groups = {group.group_id for group in admin.list_consumer_groups().result().valid}
    assert not {name for name in groups if name in (shell.settings["config"]["group.id"], "penstock-browse")}


@pytest.mark.parametrize("settings", ["kafka"], indirect=True)
def test_a_topic_is_made_as_the_configuration_says(shell: Shell) -> None:
    """With its partitions; a topic that is there keeps its own, and that is told."""
    assert "3 partitions\n" in shell("create")[1]
    changed = {**shell.settings, "config": {**shell.settings["config"], "topic": {"partitions": 4}}}
    Path("queues.yml").write_text(json.dumps({"queues": {"orders": changed}}))

    code, out, _err = shell("create", "orders")

    assert code == 0
    assert out.endswith(", 3 partitions (the configuration says 4)\n")


AWAY = {
    "kafka": {
        "profile": "kafka",
        "config": {"bootstrap.servers": "localhost:1", "group.id": "g", "connect_timeout": 1},
    },
    "rsmq": {"profile": "rsmq", "config": {"url": "redis://localhost:1"}},
    "postgres": {"profile": "postgres", "config": {"dsn": "postgresql://localhost:1/x"}},
}


@pytest.mark.parametrize("backend", AWAY)
def test_a_server_that_is_away_is_told_at_once(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By each action, with queue and address, and without a traceback; exit code 1."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    shell = Shell(AWAY[backend], capsys)
    file = {"queues": {"orders": AWAY[backend]}, "worker": {"connect_timeout": 0}}
    Path("queues.yml").write_text(json.dumps(file))

    for words in (["peek", "orders"], ["lag"], ["create"], ["publish", "orders", "1"]):
        code, _out, err = shell(*words)
        assert code == 1, words
        assert "queue 'orders' (queues.yml:1), " in err
        assert "localhost:1" in err
        assert "Traceback" not in err
