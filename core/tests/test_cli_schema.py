"""`penstock schema`: JSON on stdout, and nothing else there."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from core.tests import acme

from penstock.cli.main import main
from penstock.hookspecs import hookimpl
from penstock.specs import ConnectorSpec


@pytest.fixture(autouse=True)
def _acme(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    acme.install(monkeypatch, tmp_path)


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Valid, by the standard it names, and fit to be redirected into a file."""
    assert main(["schema"]) == 0

    captured = capsys.readouterr()
    schema = json.loads(captured.out)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert captured.err == ""


def test_a_connector_that_does_not_load_is_told_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rest of the schema is still good."""
    spec = ConnectorSpec("acme-gone", consumer=f"{acme.HERE}:AcmeConsumer", options="acme_gone:Options")
    monkeypatch.setattr(acme, "penstock_connectors", hookimpl(specname="penstock_connectors")(lambda: [spec]))

    assert main(["schema"]) == 0

    captured = capsys.readouterr()
    assert json.loads(captured.out)["title"] == "Penstock configuration"
    assert captured.err.startswith("penstock: connector 'acme-gone'")
