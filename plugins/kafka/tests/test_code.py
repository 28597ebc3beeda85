"""Where a configuration must not run code, the client's own ways to run some are closed, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.cli.main import main
from penstock.config.files import load
from penstock.config.resolve import problems_of
from penstock_kafka.known_keys import CODE

CONFIG: dict[str, Any] = {"bootstrap.servers": "localhost:1", "group.id": "g"}


def found(plugins: dict[str, Any], **config: Any) -> list[str]:
    """What is wrong with the queue as an input and as an output."""
    source = load({"queues": {"q": {"connector": "kafka", "config": {**CONFIG, **config}}}, "plugins": plugins})
    return [str(each) for each in problems_of(source, (), [("q", "input"), ("q", "output")])]


@pytest.mark.parametrize("block", [None, "consumer", "producer"])
@pytest.mark.parametrize("key", sorted(CODE))
def test_what_runs_code_is_refused(key: str, block: str | None) -> None:
    """Beside the other keys and in the blocks of one direction; the text names key and setting."""
    config = {key: "x; touch /tmp/penstock"}

    problems = found({"allow_import_paths": False}, **({block: config} if block else config))

    assert len(problems) == 1
    assert repr(key) in problems[0]
    assert "allow_import_paths" in problems[0]
    assert "touch" not in problems[0]


def test_plain_names_of_kerberos_stay_allowed() -> None:
    """In a command they are names."""
    names = {"sasl.kerberos.principal": "app/host@REALM", "sasl.kerberos.keytab": "/etc/app.keytab"}

    assert not any("code" in each for each in found({"allow_import_paths": False}, **names))


def test_they_are_allowed_where_import_paths_are() -> None:
    """The client judges then."""
    assert not any("code" in each for each in found({}, **{"sasl.kerberos.kinit.cmd": "true"}))


def test_check_loads_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`penstock check` makes a client to judge its keys: it must not, with these."""
    file = tmp_path / "queues.yml"
    file.write_text(
        "queues: {q: {connector: kafka, config: {bootstrap.servers: 'localhost:1', group.id: g, "
        "plugin.library.paths: /nowhere/lib}}}\nplugins: {allow_import_paths: false}\n"
    )

    assert main(["check", str(file)]) == 2

    said = capsys.readouterr()
    assert "a configuration must not run code" in said.out + said.err
    assert "cannot open shared object" not in said.out + said.err
