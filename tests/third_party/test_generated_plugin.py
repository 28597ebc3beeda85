"""The package that `penstock new plugin acme` writes works without a change."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock_kit import ConnectorConformance
from penstock_kit.new import write_plugin
from tests.third_party.conftest import Environment, build_wheels

APP = """
from penstock import Engine

app = Engine("numbers", ["results"], yaml_config_path="queues.yml")


@app.stream_app
def double(message: dict):
    return [("results", {"n": message["n"] * 2})]
"""

QUEUES = """
queues:
  numbers: {connector: acme, serializer: json, config: {path: queues.db}}
  results: {connector: acme, serializer: json, config: {path: queues.db}}
"""


@pytest.mark.timeout(900)
def test_the_generated_plugin_works_in_a_fresh_environment(
    fresh_environment: Callable[[], Environment], wheels: Path, tmp_path: Path
) -> None:
    """Built and installed from its wheel it is listed, used by name in a pipeline, typed, and its own tests, the
    conformance kit among them, are green."""
    package = write_plugin("acme", tmp_path)
    build_wheels(wheels, package)
    environment = fresh_environment()
    environment.install("penstock-acme[test]")

    listing = environment.run("penstock", "plugins", "--check", "--json")
    offers = {(offer["kind"], offer["name"]): offer for offer in json.loads(listing)}
    acme = offers["connector", "acme"]
    assert (acme["distribution"], acme["origin"], acme["state"]) == ("penstock-acme", "third-party", "ok")

    results = _run_pipeline(environment, tmp_path / "app")
    assert sorted(result["n"] for result in results) == [2 * n for n in range(100)]

    environment.run("python", "-m", "mypy", cwd=package)
    # Its sources are out of the way: what is tested is what was installed.
    (package / "src").rename(tmp_path / "src-out-of-the-way")
    # Four processes: most of what the kit does is waiting.
    arguments = ["-m", "pytest", "-p", "no:cacheprovider", "-n", "4", "--dist", "worksteal"]
    output = environment.run(
        "python", *arguments, cwd=package, PENSTOCK_CONFORMANCE_REPORT=str(tmp_path / "report.json")
    )
    assert "= conformance =" in output
    assert "BROKEN" not in output
    (suite,) = json.loads((tmp_path / "report.json").read_text())["suites"]
    promises = {name for name in dir(ConnectorConformance) if name.startswith("test_")}
    assert {finding["test"] for finding in suite["findings"]} == promises


def _run_pipeline(environment: Environment, folder: Path) -> list[dict[str, int]]:
    folder.mkdir()
    (folder / "app.py").write_text(APP)
    (folder / "queues.yml").write_text(QUEUES)
    (folder / "in.jsonl").write_text("".join(f'{{"n": {n}}}\n' for n in range(100)))
    feed, collect = "numbers=in.jsonl", "results=out.jsonl"
    options = ["--drain", "--metrics-port", "none", "--feed", feed, "--collect", collect]
    environment.run("penstock", "run", "app.py", *options, cwd=folder)
    return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
