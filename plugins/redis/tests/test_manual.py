"""The programs of docs/how_to/redis.md that are no sessions there, on a real server."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "how_to" / "redis.md"
PROGRAMS = dict(re.findall(r"```python title=(\S+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))
LINES = 15  # of a program that a reader would try first


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_of_the_page_is_short(name: str) -> None:
    """Blank lines not counted."""
    assert len([line for line in PROGRAMS[name].splitlines() if line.strip()]) <= LINES


def test_the_program_for_pub_sub_prints_what_is_published(redis_server: Any, raw: Any, tmp_path: Path) -> None:
    """By patterns, with the channel; it says that it is at most once, and stops in order."""
    (tmp_path / "alerts.py").write_text(PROGRAMS["alerts.py"])
    environment = os.environ | {"REDIS_HOST": redis_server.host, "REDIS_PORT": str(redis_server.port)}
    out, err = (tmp_path / "out").open("wb"), (tmp_path / "err").open("wb")
    with out, err:
        command = [sys.executable, "-m", "penstock", "run", "alerts.py", "--metrics-port", "none"]
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=out, stderr=err)
    try:
        deadline = time.monotonic() + 60
        while raw.pubsub_numpat() < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        raw.publish("user.7", '{"text": "hello"}')
        raw.publish("order.9", '{"text": "sold"}')
        raw.publish("other", '{"text": "not for us"}')
        while (tmp_path / "out").read_text().count("\n") < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        code = process.wait(20)
    finally:
        process.kill()
        process.wait()

    said = (tmp_path / "err").read_text()
    assert code == 0, said
    assert (tmp_path / "out").read_text().splitlines() == ["user.7 hello", "order.9 sold"], said
    assert "at most once" in said
