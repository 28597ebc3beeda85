"""A Python of its own, for what can only be seen there: what an import brings, what a check does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from penstock_kit.broken import Broken, must

START_LIMIT = 60.0  # seconds for a Python that imports the core, on a busy machine


def as_json(data: object) -> str:
    """What is given to another process.

    Raises:
        Broken: it holds what cannot be.
    """
    try:
        return json.dumps(data)
    except TypeError as error:
        raise Broken(
            f"a backend fixture's config() returns plain data, which can be sent to another process; {error}\n"
            "    look at: config() of your BackendFixture: text, numbers, lists and mappings, as in a YAML file"
        ) from error


def run_alone(program: str, argument: object, what: str, look: str) -> Any:
    """Run a program in a process that finds the same plugins as this one.

    Args:
        program: Python. It finds `argument` as JSON in `sys.argv[1]`, and prints what it has found as JSON.
        argument: Plain data.
        what: What it does, for the sentence that says that it failed.
        look: Where an author should look then.

    Returns:
        What it printed.

    Raises:
        Broken: it failed.
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
