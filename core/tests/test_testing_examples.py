"""The harness's example and manual, run as a reader would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "test_your_function_harness"
MANUAL = ROOT / "docs" / "how_to" / "harness.md"


def run_tests(folder: Path) -> str:
    """What pytest prints of the tests in a folder, started there, with every warning an error."""
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("KAFKA_", "REDIS_", "PYTEST_"))
    }
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "--rootdir", str(folder)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_passes(tmp_path: Path) -> None:
    """Where neither Kafka nor Redis is, nor any of its variables."""
    shutil.copytree(EXAMPLE, tmp_path / "example", ignore=shutil.ignore_patterns("__pycache__"))

    assert "6 passed" in run_tests(tmp_path / "example")


def test_the_code_of_the_manual_passes(tmp_path: Path) -> None:
    """All its blocks, one below the other, are one module with three tests."""
    blocks = re.findall(r"```python\n(.*?)```", MANUAL.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "test_manual.py").write_text("\n".join(blocks), encoding="utf-8")

    assert "3 passed" in run_tests(tmp_path)


def test_the_manual_names_every_public_method() -> None:
    """And every fault, so that none is found by accident only."""
    from penstock.testing import Harness
    from penstock.testing.fault_injection import ConsumerFaults, ProducerFaults

    text = MANUAL.read_text(encoding="utf-8")
    internal = {"refusal", "loses_confirmation", "repeats", "loses_lease", "strike"}
    for owner in (Harness, ConsumerFaults, ProducerFaults):
        for name in vars(owner):
            if not name.startswith("_") and name not in internal and name != "close":
                assert re.search(rf"\b{name}\b", text), f"{owner.__name__}.{name}"
