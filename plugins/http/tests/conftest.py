"""A plugin of the tests alone: `http-pair` reads by `http.poll` what `http.webhook` sends, so that each proves the
other. It is importable, as is `http_scripted`, a server whose answers a test writes down."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "pair"))


@pytest.fixture(autouse=True, scope="module")
def http_pair_installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """As far as the metadata tell, the plugin is installed, but only for this directory: other tests list what is."""
    site = tmp_path_factory.mktemp("site")
    metadata = site / "http_pair-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: http-pair\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[penstock]\nhttp_pair = http_pair.plugin\n")
    sys.path.insert(0, str(site))
    yield
    sys.path.remove(str(site))
