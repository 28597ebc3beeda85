"""Runs the README's first command in this environment, from the repository's root, and compares what it prints."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = 2.0  # as promised in the README


def first_command() -> list[str]:
    """The `penstock run` of the README's first code block."""
    block = re.search(r"```(?:bash|sh|console)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block, "README.md has no shell block"
    text = block[1].replace("\\\n", " ")
    line = next(part for part in re.split(r"&&|\n", text) if part.strip().startswith("penstock run"))
    return line.split()


def main() -> None:
    command = first_command()
    started = time.monotonic()
    done = subprocess.run(
        [str(Path(sys.executable).parent / command[0]), *command[1:]],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    seconds = time.monotonic() - started
    expected = (ROOT / "examples" / "intro" / "expected.txt").read_text()
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.stdout == expected, f"printed\n{done.stdout}\n{done.stderr}\ninstead of\n{expected}"
    assert not done.stderr, f"unexpected on standard error: {done.stderr}"
    print(f"the README's first command: {len(expected.splitlines())} lines as expected, exit 0, {seconds:.2f} s")
    if seconds > SECONDS:
        print(f"slower than the {SECONDS} s promised, on this machine now")


if __name__ == "__main__":
    main()
