"""`penstock plugins` on a real installation, most of which is broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.conftest import Run

STATES = {
    ("serializer", "json"): "ok",
    ("model_handler", "pydantic"): "ok",
    ("connector", "sound"): "ok",
    ("plugin", "raises"): "broken",
    ("plugin", "needy"): "broken",
    ("plugin", "leaves"): "broken",
    ("plugin", "misspelt"): "broken",
    ("plugin", "unmarked"): "broken",
    ("plugin", "hook-raises"): "broken",
    ("plugin", "no-list"): "broken",
    ("plugin", "future"): "incompatible",
    ("plugin", "past"): "incompatible",
    ("plugin", "silent"): "incompatible",
    ("connector", "twin"): "duplicate",
    ("connector", "clientless"): "ok",
    ("connector", "absent-class"): "ok",
}
"""What the list says without importing what the specs name."""


def _listed(run: Run, folder: Path, *arguments: str, **variables: str) -> tuple[int, list[dict[str, Any]]]:
    done = run(folder, "-m", "penstock.cli.main", "plugins", "--json", *arguments, **variables)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def _states(offers: list[dict[str, Any]]) -> dict[tuple[str, str], str]:
    return {(offer["kind"], offer["name"]): offer["state"] for offer in offers}


def test_the_list_states_what_each_offer_is_worth(sample_plugins: Path, run: Run) -> None:
    """Every offer and every plugin without one has its state, distribution, version, origin and problem."""
    code, offers = _listed(run, sample_plugins)

    assert code == 0
    assert _states(offers).items() >= STATES.items()
    sound = next(offer for offer in offers if offer["name"] == "sound")
    assert sound == {
        "kind": "connector",
        "name": "sound",
        "distribution": "penstock-sound",
        "version": "1.2.3",
        "origin": "third-party",
        "state": "ok",
        "problem": "",
        "summary": "a sound one",
    }
    assert {offer["origin"] for offer in offers if offer["distribution"] == "penstock-core"} == {"built-in"}
    assert all(offer["problem"] for offer in offers if offer["state"] != "ok")


def test_the_list_imports_no_client(sample_plugins: Path, run: Run) -> None:
    """Light modules are all it needs: no connector, no client library, no pydantic, no orjson."""
    program = (
        "import sys; from penstock.cli.main import main; code = main(['plugins']);"
        "heavy = {'sample_client', 'penstock_sound.connector', 'confluent_kafka', 'redis', 'orjson', 'pydantic'};"
        "sys.exit(repr(heavy & sys.modules.keys()) if heavy & sys.modules.keys() else code)"
    )

    done = run(sample_plugins, "-c", program)

    assert (done.returncode, done.stderr) == (0, "")


def test_check_imports_everything_and_finds_what_cannot_be(sample_plugins: Path, run: Run) -> None:
    """`--check` also resolves import strings: a missing client and a missing class are found, and it exits with 1."""
    code, offers = _listed(run, sample_plugins, "--check")

    assert code == 1
    states = _states(offers)
    assert (states["connector", "clientless"], states["connector", "absent-class"]) == ("broken", "broken")
    assert (states["connector", "sound"], states["serializer", "json"]) == ("ok", "ok")
    problem = next(offer["problem"] for offer in offers if offer["name"] == "clientless")
    assert "pip install penstock-clientless" in problem


def test_check_is_content_when_all_works(sample_plugins: Path, run: Run) -> None:
    """With everything but the sound plugin kept out, nothing is wrong: to block is a wish, not a fault."""
    code, offers = _listed(run, sample_plugins, "--check", PENSTOCK_PLUGINS_ALLOW="penstock-sound")

    assert code == 0
    assert _states(offers)["connector", "sound"] == "ok"
    assert _states(offers)["plugin", "raises"] == "blocked"


@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_the_table_fits_a_terminal_and_shows_every_problem_once(
    arguments: tuple[str, ...], sample_plugins: Path, run: Run
) -> None:
    """Six columns, the faults below, nothing wider than 100 columns unless a single word is."""
    lines = run(sample_plugins, "-m", "penstock.cli.main", "plugins", *arguments).stdout.splitlines()

    assert lines[0].split() == ["kind", "name", "distribution", "version", "origin", "state"]
    row = next(line for line in lines if line.startswith("connector      sound"))
    assert row.split() == ["connector", "sound", "penstock-sound", "1.2.3", "third-party", "ok"]
    assert max(len(line) for line in lines if len(line.split()) > 1) <= 100
    text = " ".join(line.strip() for line in lines)
    assert text.count("importing 'penstock_raises.plugin' raised RuntimeError: no such planet") == 1
    assert text.count("write 'acme-twin:twin' or 'other-twin:twin'") == 1


def test_the_list_works_when_the_core_itself_is_kept_out(sample_plugins: Path, run: Run) -> None:
    """Who blocks the core's own offers gets a list that says so, and a lookup that does not hide it."""
    code, offers = _listed(run, sample_plugins, PENSTOCK_PLUGINS_BLOCK="penstock-core")

    assert code == 0
    assert _states(offers)["plugin", "builtin"] == "blocked"
    assert ("serializer", "json") not in _states(offers)
