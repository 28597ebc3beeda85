"""How `penstock plugins` prints; what it says is tested on real installations in `tests/plugins`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.plugins.distributions import install_only, offers_connector, plugin

from penstock.cli.main import main
from penstock.cli.plugins import print_plugins
from penstock.plugins.registry import ListedName

LONG = "a-connector-with-a-name-that-goes-on-and-on-and-on-for-ever"


def test_a_long_name_is_cut_in_the_table_and_whole_in_the_json(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table keeps to 100 columns, and every column shows something; JSON is for programs."""
    distribution = "a-distribution-with-an-equally-long-name-of-its-own-to-boast-of"
    install_only(
        monkeypatch, tmp_path, plugin(distribution, "long", offers_connector(LONG, "x"), version="2024.12.31.post7")
    )

    assert main(["plugins"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert main(["plugins", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)

    assert max(map(len, lines)) <= 100
    row = next(line for line in lines if line.startswith("connector")).split()
    assert [row[0], row[3:]] == ["connector", ["2024.12.31.post7", "third-party", "ok"]]
    assert row[1].endswith("…")
    assert LONG.startswith(row[1][:-1])
    assert (listed[-1]["name"], listed[-1]["distribution"]) == (LONG, distribution)


def test_what_a_plugin_prints_at_import_does_not_spoil_the_json(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It goes to stderr."""
    source = f"print('thank you for choosing acme')\n{offers_connector('acme', 'x')}"
    install_only(monkeypatch, tmp_path, plugin("acme-queues", "acme", source))

    assert main(["plugins", "--json"]) == 0
    printed = capsys.readouterr()

    names = [offer["name"] for offer in json.loads(printed.out)]
    assert names == ["json", "text", "pydantic", "timeout", "rate_limit", "acme"]
    assert printed.err == "thank you for choosing acme\n"


def test_metadata_with_escapes_are_shown_escaped_and_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """A third party's metadata cannot write to the terminal, and no cell is longer than the table."""
    evil = "\x1b[31mred\x9b1m\r\n\u202eforged"
    offer = ListedName("connector", evil, evil * 1_000, evil, "third-party", "broken", f"{evil}\n{evil}", "")

    print_plugins([offer])
    shown = capsys.readouterr().out.splitlines()

    assert not [line for line in shown if not line.isprintable()]
    assert max(map(len, shown[:2])) <= 130


CONNECTORS = """
from penstock.connectors import Consumer, Producer

class Consumer(Consumer):
    async def connect(self): ...
    async def consume(self, max_messages, timeout): ...
    async def on_success(self, messages): ...
    async def shutdown(self): ...

class Producer(Producer):
    async def connect(self): ...
    async def shutdown(self): ...
"""


def test_check_names_the_methods_that_a_connector_lacks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that must be written, and those that a declared capability needs: they would fail at the first message."""
    source = offers_connector("acme", "acme_queues.connector").replace(
        "summary=''", "capabilities=Capabilities(lease=True, lag=True, ordering='queue')"
    )
    source = f"from penstock.capabilities import Capabilities\n{source}"
    install_only(monkeypatch, tmp_path, plugin("acme-queues", "acme", source, modules={"connector.py": CONNECTORS}))

    assert main(["plugins", "--check", "--json"]) == 1
    (acme,) = [offer for offer in json.loads(capsys.readouterr().out) if offer["name"] == "acme"]

    problems = acme["problem"].splitlines()
    consumer = "connector 'acme': its consumer 'acme_queues.connector:Consumer'"
    assert problems == [
        f"{consumer} cannot be made: it has no on_fail(); tell its author",
        f"{consumer} has no extend(), which the declared capability 'lease' needs; tell its author",
        f"{consumer} has no lag(), which the declared capability 'lag' needs; tell its author",
        "connector 'acme': its producer 'acme_queues.connector:Producer' cannot be made: it has no produce(); "
        "tell its author",
    ]
