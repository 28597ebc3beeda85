"""examples/postgres, run as its README says, on a real PostgreSQL."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
from tests.servers.postgres import PostgresServer

EXAMPLE = Path(__file__).parents[2] / "examples" / "postgres"


def test_the_table_is_served_by_classes_of_ones_own_and_by_the_connector(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    """By YAML, by dict, and as a connector: the same lines are printed, and nothing is left in the table."""
    dsn = postgres.fresh()
    folder = shutil.copytree(EXAMPLE, tmp_path / "postgres", ignore=shutil.ignore_patterns("__pycache__"))
    [commands] = re.findall(r"^```bash\n(.*?)^```", (folder / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    done = subprocess.run(
        ["bash", "-ec", commands],
        cwd=folder,
        env={**os.environ, "PATH": path, "POSTGRES_DSN": dsn},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == (folder / "expected.txt").read_text(), done.stderr
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT count(*) FROM pg_queue_table").fetchall() == [(0,)]
        assert connection.execute("SELECT count(*) FROM penstock_messages").fetchall() == [(0,)]
