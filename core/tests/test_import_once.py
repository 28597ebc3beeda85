"""A data model named by its dotted path in the program's own file is the class that the function knows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
from pydantic import BaseModel
from penstock import Engine

class Invoice(BaseModel):
    total: float

app = Engine(input_queue="in", output_queues=["out"], queue_config={{"queues": [
    {{"name": "in", "profile": "memory"}},
    {{"name": "out", "profile": "memory", "data_model": "{path}.Invoice"}},
]}})

@app.stream_app
def bill(number: int):
    return "out", Invoice(total=number)

if __name__ == "__main__":
    from penstock.testing import Harness
    with Harness(app) as harness:
        harness.send("in", 1)
        harness.run()
        print(harness.sent("out"))
"""


@pytest.mark.parametrize("packaged", [False, True], ids=["a file", "in a package"])
def test_a_model_of_the_programs_own_file_is_one_class(tmp_path: Path, packaged: bool) -> None:
    """Run by its path, its module is `__main__`, which is not imported a second time."""
    folder = tmp_path / "billing" if packaged else tmp_path
    folder.mkdir(exist_ok=True)
    if packaged:
        (folder / "__init__.py").touch()
    program = folder / "program.py"
    program.write_text(PROGRAM.format(path="billing.program" if packaged else "program"))

    ran = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=60, env={"PYTHONPATH": str(tmp_path)}
    )

    assert "total" in ran.stdout, ran.stderr
