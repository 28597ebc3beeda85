"""The intro example as two processes between two Redis streams: another YAML file, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import redis
from tests.end_to_end.workers import wait_until
from tests.servers.redis import RedisServer

INTRO = Path(__file__).parents[2] / "examples" / "intro"
SOURCE, TARGET, GROUP = "my.input.stream.name", "my.output.stream.name", "my.consumer.group"
STOP_WITHIN = 15.0  # seconds


def test_the_intro_runs_on_redis_streams_by_its_yaml_alone(redis_server: RedisServer, tmp_path: Path) -> None:
    """The two programs are the same files; they print the expected output, and leave nothing unsettled."""
    environment = os.environ | {
        "REDIS_HOST": redis_server.host,
        "REDIS_PORT": str(redis_server.port),
        "PYTHONUNBUFFERED": "1",
    }
    logs = [tmp_path / "app_0.out", tmp_path / "app_1.out"]
    processes = []
    for log in logs:
        command = [sys.executable, "-m", "penstock", "run", f"{log.stem}.py", "--config", "queues.redis.yml"]
        with log.open("wb") as out, log.with_suffix(".err").open("wb") as err:
            words = [*command, "--metrics-port", "none"]
            processes.append(subprocess.Popen(words, cwd=INTRO, env=environment, stdout=out, stderr=err))
    client = redis.Redis(redis_server.host, redis_server.port)
    try:
        client.xadd(SOURCE, {"body": (INTRO / "messages.jsonl").read_bytes().strip()})
        wait_until(lambda: "we are done" in logs[1].read_text(), "the last line of app_1", timeout=60)
        started = time.monotonic()
        for process in processes:
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(STOP_WITHIN) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()

    errors = "".join(log.with_suffix(".err").read_text() for log in logs)
    assert codes == [0, 0], errors
    assert time.monotonic() - started < STOP_WITHIN
    expected = (INTRO / "expected.txt").read_text().splitlines()
    of_app_0 = [line for line in expected if line.startswith(("Received", "the_max"))]
    assert logs[0].read_text().splitlines() == of_app_0, errors
    assert logs[1].read_text().splitlines() == [line for line in expected if line not in of_app_0], errors
    for stream in (SOURCE, TARGET):
        assert client.xpending(stream, GROUP)["pending"] == 0
    client.close()
