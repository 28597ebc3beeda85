"""Runs a program in a fresh Python, to see what an import loads or what a check does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from penstock_kit.broken import Broken, must

START_LIMIT = 60.0  # seconds for a Python to import the core, on a busy machine


def as_json(data: object) -> str:
    """Data as JSON, for another process.

    Raises:
        Broken: it is not plain data.
    """
    try:
        return json.dumps(data)
    except TypeError as error:
        raise Broken(
            f"a backend fixture's config() returns plain data, which can be sent to another process; {error}\n"
            "    look at: config() of your BackendFixture: text, numbers, lists and mappings, as in a YAML file"
        ) from error


def run_alone(program: str, argument: object, what: str, look: str) -> Any:
    """Run a program in a fresh Python that finds the same plugins as this one.

    Args:
        program: Python code. It gets `argument` as JSON in `sys.argv[1]`, and prints its result as JSON.
        argument: Plain data.
        what: What the program does, for the error if it fails.
        look: Where an author should look if it fails.

    Returns:
        The program's result.

    Raises:
        Broken: the program failed.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(  # noqa: S603  (our own program)
        [sys.executable, "-c", program, as_json(argument)],
        capture_output=True,
        text=True,
        timeout=START_LIMIT,
        env=environment,
        check=False,
    )
    must(done.returncode == 0, f"{what} in a process of its own; it failed:\n{done.stderr[-1500:]}", look)
    return json.loads(done.stdout.splitlines()[-1])
