"""User code under mypy: what must pass, passes; what must not, is refused at the marked line for the marked reason."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="mypy is not installed; the session `types` has it")

HERE = Path(__file__).parent
ACCEPTED = sorted((HERE / "accepted").glob("*.py"))
REFUSED = sorted((HERE / "refused").glob("*.py"))

Place = tuple[int, str]
"""A line and the code of its error."""


@cache
def findings() -> dict[str, set[Place]]:
    """What mypy finds in all files, in one run, as a user runs it: strict, without this workspace's own settings."""
    files = [str(path.relative_to(HERE)) for path in ACCEPTED + REFUSED]
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary"]
    # Without a cache: it would lie about in the source tree, and a run takes three seconds.
    done = subprocess.run(
        [*command, f"--cache-dir={os.devnull}", *files],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: dict[str, set[Place]] = {file: set() for file in files}
    for line in done.stdout.splitlines():
        if error := re.fullmatch(r"(.+?):(\d+): error: .*  \[([a-z-]+)\]", line):
            found[error[1]].add((int(error[2]), error[3]))
        else:
            assert ": note: " in line, line
    return found


def marked(path: Path) -> set[Place]:
    """The errors that a file says it has."""
    lines = enumerate(path.read_text().splitlines(), 1)
    return {(number, mark[1]) for number, line in lines if (mark := re.search(r"# error: ([a-z-]+)$", line))}


@pytest.mark.parametrize("path", ACCEPTED, ids=lambda path: path.stem)
def test_code_as_users_write_it_is_accepted(path: Path) -> None:
    """No cast, no ignore: a decorated function keeps its type, and `main()` runs its engine."""
    text = path.read_text()

    assert findings()[f"accepted/{path.name}"] == set()
    assert "type: ignore" not in text
    assert "cast(" not in text


@pytest.mark.parametrize("path", ACCEPTED, ids=lambda path: path.stem)
def test_what_is_accepted_runs(path: Path) -> None:
    """A type checker that is content proves little about code that does not work."""
    runpy.run_path(str(path))


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: path.stem)
def test_mistakes_are_refused(path: Path) -> None:
    """Each at its own line, and nothing beside them."""
    assert findings()[f"refused/{path.name}"] == marked(path)
    assert len(marked(path)) >= 10
