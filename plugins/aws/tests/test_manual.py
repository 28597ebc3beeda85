"""The program of docs/how_to/sqs.md, on a server that speaks SQS."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.servers.sqs import AwsServer

PAGE = Path(__file__).parents[3] / "docs" / "how_to" / "sqs.md"
PROGRAM = re.findall(r"```python title=invoicing\.py\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
LINES = 15  # of a program that a reader would try first


def test_the_program_of_the_page_makes_invoices(sqs_server: AwsServer, tmp_path: Path) -> None:
    """It is short, makes its queues, and works off what is fed to it."""
    assert len([line for line in PROGRAM.splitlines() if line.strip()]) <= LINES
    program = PROGRAM.replace('"name": "orders"', f'"name": "orders", "value": "{sqs_server.queue()}"')
    program = program.replace('"name": "invoices"', f'"name": "invoices", "value": "{sqs_server.queue()}"')
    (tmp_path / "invoicing.py").write_text(program)
    environment = os.environ | {
        "AWS_ENDPOINT_URL": sqs_server.url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
    }  # fmt: skip
    command = [sys.executable, "-m", "penstock", "run", "invoicing.py", "--drain", "--metrics-port", "none"]
    command += ["--feed", "orders=-", "--collect", "invoices=-"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, input='{"id": 1, "cents": 250}\n{"id": 2, "cents": 1999}\n',
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    found = sorted((json.loads(line) for line in done.stdout.splitlines()), key=lambda each: each["order"])
    assert found == [{"order": 1, "text": "2.50"}, {"order": 2, "text": "19.99"}]
