"""What the page From py-volley shows, run on queues in memory."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

from penstock.testing import Harness

PAGE = Path(__file__).parents[3] / "docs" / "how_to" / "from_py_volley.md"


@pytest.mark.parametrize("name", ["old_worker", "new_worker"])
def test_both_workers_of_the_page_do_the_same(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old one with the package's name replaced, and nothing else."""
    source = re.search(rf"```python title={name}\.py\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert source is not None
    (tmp_path / f"{name}.py").write_text(source[1].replace("volley", "penstock"))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, name, raising=False)
    worker = import_module(name)

    with Harness(worker.maximum) as harness:
        harness.send("numbers", {"values": [1, 5, 3]})
        harness.run()
        assert [record.message for record in harness.records("maxima")] == [b'{"the_max":5.0}']


def test_every_old_name_of_the_page_is_tested() -> None:
    """The table promises no name that `test_volley_names.py` does not try."""
    tried = (Path(__file__).parent / "test_volley_names.py").read_text()
    promised = set(re.findall(r"`volley\.((?:\w+\.)*\w+)`", PAGE.read_text()))

    assert len(promised) > 8
    assert {name for name in promised if f"penstock.{name}" not in tried} == set()
