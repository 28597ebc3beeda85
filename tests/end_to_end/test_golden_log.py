"""The log of a normal day, as it is read at three in the morning: start, an outage and its end, failures, stop."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.end_to_end.workers import wait_until
from tests.servers.proxy import Proxy
from tests.servers.redis import RedisServer

from penstock.cli.main import main

APP = """
from penstock import Engine

app = Engine("orders", ["invoices"], app_name="till", yaml_config_path="queues.yml", dead_letter_queue="rejects",
             retry={"max_attempts": 1})


def find(customer):
    return {"ann": 1}[customer]


@app.stream_app
def invoice(customer):
    try:
        return ("invoices", find(customer))
    except KeyError as error:
        raise LookupError("no such customer") from error
"""
CONFIG = """
queues:
  orders: {connector: rsmq, value: NAME-orders, config: {url: "redis://127.0.0.1:PORT/0", create: true}}
  invoices: {connector: rsmq, value: NAME-invoices, config: {url: "redis://127.0.0.1:PORT/0", create: true}}
  rejects: {connector: rsmq, value: NAME-rejects, config: {url: "redis://127.0.0.1:PORT/0", create: true}}
worker:
  metrics_port: 0
"""
DAY = """\
TIME INFO penstock: starting Penstock 0.1.0, process N, health and metrics on 127.0.0.1 port N: /livez, /readyz, /metrics, /status
TIME INFO penstock: engine 'till': from 'orders' (rsmq) to 'invoices' (rsmq), dead letters to 'rejects' (rsmq)
TIME INFO penstock: engine 'till': at work, connected after TAKEN
TIME WARNING penstock: Redis at 127.0.0.1:PORT: REASON; connecting again; queues 'orders', 'invoices' and 'rejects' of engine 'till' wait; to ask it: penstock check queues.yml --connect
TIME WARNING penstock: Redis at 127.0.0.1:PORT: connected again after TAKEN; N messages wait in 'orders'
TIME WARNING penstock: engine 'till': N messages failed at function, the first at ID of queue 'orders' (queues.yml:3), rsmq, attempt N: LookupError: no such customer; to the dead-letter queue 'rejects' (app.py:17); to see them: penstock dead-letters queues.yml rejects list
Traceback (most recent call last):
  File "FOLDER/app.py", line 15, in invoice
    return ("invoices", find(customer))
  File "FOLDER/app.py", line 9, in find
    return {"ann": 1}[customer]
KeyError: 'bob'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "FOLDER/app.py", line 17, in invoice
    raise LookupError("no such customer") from error
LookupError: no such customer
TIME INFO penstock: SIGTERM was received
TIME INFO penstock: stopping: engine 'till' WAITS, for at most 30 s; a second signal ends at once
TIME WARNING penstock: engine 'till': N more messages failed at function until the end, the first at ID of queue 'orders' (queues.yml:3), rsmq, attempt N: LookupError: no such customer; to the dead-letter queue 'rejects' (app.py:17)
TIME INFO penstock: engine 'till', queue 'orders': 40 received, 20 succeeded, 20 dead-lettered; 20 calls failed
"""  # noqa: E501  (as it is written)


def normal(text: str, folder: Path, port: int) -> str:
    """Without what differs from day to day."""
    for pattern, word in (
        (re.escape(str(folder)), "FOLDER"),
        (rf"127\.0\.0\.1:{port}", "127.0.0.1:PORT"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", "TIME"),
        (r"(?<=stopping: engine 'till' ).*(?=, for)", "WAITS"),
        (r"(?<=the first at )\S+", "ID"),
        (r"(?<=:PORT: ).*(?=; connecting again)", "REASON"),
        (r"(?<=after )[\d.]+ s", "TAKEN"),
        (r"(?<=process |attempt )\d+|(?<=port )\d+", "N"),
        (
            r"\b\d+(?= messages? waits?\b)|\b\d+(?= (?:more )?messages? failed)",
            "N",
        ),
        (r"message waits", "messages wait"),
        (r"\bmessage failed", "messages failed"),
    ):
        text = re.sub(pattern, word, text)
    return text


def of_json(lines: str) -> str:
    """The JSON log as the other one is written."""
    entries: list[dict[str, Any]] = [json.loads(line) for line in lines.splitlines()]
    assert all(
        entry["engine"] == "till" for entry in entries if "'till'" in entry["message"] and "failed" in entry["message"]
    )
    return "".join(
        f"{entry['time']} {entry['level']} {entry['logger']}: {entry['message']}\n"
        + (f"{entry['exception']}\n" if "exception" in entry else "")
        for entry in entries
    )


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_log_of_a_normal_day(redis_server: RedisServer, tmp_path: Path, form: str) -> None:
    """What is wrong, since when, and what to type, on one screen; the server's three queues share their lines."""
    proxy = Proxy(redis_server.host, redis_server.port)
    (tmp_path / "app.py").write_text(APP)
    name = redis_server.queue()
    config = CONFIG.replace("NAME", name).replace("PORT", str(proxy.port))
    (tmp_path / "queues.yml").write_text(config)
    (tmp_path / "direct.yml").write_text(config.replace(f":{proxy.port}/", f":{redis_server.port}/"))
    log = tmp_path / "log"

    def feed(customer: str, count: int) -> None:
        (tmp_path / "in.jsonl").write_text(f'"{customer}"\n' * count)
        assert main(["queue", str(tmp_path / "direct.yml"), "publish", "orders", str(tmp_path / "in.jsonl")]) == 0

    raw = redis.Redis.from_url(redis_server.url)

    def left() -> int:
        return int(raw.zcard(f"rsmq:{name}-orders"))

    command = [sys.executable, "-m", "penstock.cli.main", "run", "app.py", "--log-format", form]
    with log.open("wb") as written:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=written, stderr=written)
    try:
        wait_until(lambda: "at work" in log.read_text(), "the start", timeout=60)
        feed("ann", 20)
        wait_until(lambda: left() == 0, "the work", timeout=60)
        proxy.cut()
        wait_until(lambda: "connecting again" in log.read_text(), "the outage", timeout=60)
        feed("bob", 1)
        proxy.heal()
        wait_until(lambda: "connected again" in log.read_text(), "the end of the outage", timeout=60)
        wait_until(lambda: "to the dead-letter queue" in log.read_text(), "the first failure", timeout=60)
        feed("bob", 19)
        wait_until(lambda: left() == 0, "the other failures", timeout=60)
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        proxy.close()
        raw.close()

    lines = log.read_text()
    written_day = of_json(lines) if form == "json" else lines
    assert normal(written_day, tmp_path, proxy.port) == DAY
