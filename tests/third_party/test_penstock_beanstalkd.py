"""A connector that was written from the guide and the scaffold alone, on a real beanstalkd, works like one of ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.code_lines import code_lines
from tests.servers.beanstalkd import BeanstalkdServer
from tests.third_party.conftest import OURS, ROOT, Environment, build_wheels

PACKAGE = Path(__file__).parent / "penstock-beanstalkd"
MOST_LINES = 150  # of client, consumer and producer; options and plugin declare, and have 43

APP = """
from penstock import Engine

app = Engine("numbers", ["results"], dead_letter_queue="rejects", yaml_config_path="queues.yml")


@app.stream_app
def double(message: dict):
    if message["n"] == 13:
        raise ValueError("unlucky")
    return [("results", {"n": message["n"] * 2})]
"""

QUEUES = """
engine: {retry: {max_attempts: 2, initial_delay: 0.01}}
queues:
  numbers: {profile: beanstalkd, value: shop.numbers, data_model: none}
  results: {profile: beanstalkd, value: shop.results, data_model: none}
  rejects: {profile: beanstalkd-dlq, value: shop.rejects}
"""


@pytest.fixture(scope="module")
def environment(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with our plugins, the wheel of penstock-beanstalkd and what its tests need."""
    build_wheels(wheels, PACKAGE)
    environment = Environment(tmp_path_factory.mktemp("beanstalkd") / "environment", wheels)
    environment.install(f"penstock-core[{','.join(OURS)}]", "penstock-beanstalkd[test]")
    return environment


def test_it_is_small() -> None:
    """What every connector needs is in the building blocks."""
    sources = PACKAGE / "src" / "penstock_beanstalkd"

    assert (
        sum(code_lines((sources / f"{name}.py").read_text()) for name in ("client", "consumer", "producer"))
        <= MOST_LINES
    )


@pytest.mark.timeout(600)
def test_it_is_listed_beside_ours(environment: Environment) -> None:
    """The listing has its name and distribution; only the column of origin differs from ours."""
    offers = json.loads(environment.run("penstock", "plugins", "--check", "--json"))

    connectors = {offer["name"]: (offer["distribution"], offer["origin"]) for offer in offers}
    assert {offer["state"] for offer in offers} == {"ok"}
    assert connectors["beanstalkd"] == ("penstock-beanstalkd", "third-party")
    assert connectors["kafka"] == ("penstock-kafka", "first-party")


def test_a_pipeline_uses_it_by_name(
    environment: Environment, beanstalkd_server: BeanstalkdServer, tmp_path: Path
) -> None:
    """Input, output and dead letters; the address comes from the environment."""
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "queues.yml").write_text(QUEUES)
    (tmp_path / "in.jsonl").write_text("".join(f'{{"n": {n}}}\n' for n in range(100)))
    where = {"BEANSTALKD_HOST": "127.0.0.1", "BEANSTALKD_PORT": str(beanstalkd_server.port)}

    checked = environment.run("penstock", "check", "queues.yml", cwd=tmp_path, **where)
    arguments = ["app.py", "--drain", "--metrics-port", "none", "--feed", "numbers=in.jsonl"]
    arguments += ["--collect", "results=out.jsonl", "--collect", "rejects=rejects.jsonl"]
    environment.run("penstock", "run", *arguments, cwd=tmp_path, **where)

    assert "environment BEANSTALKD_HOST" in checked
    results = [json.loads(line)["n"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert sorted(results) == [2 * n for n in range(100) if n != 13]
    (reject,) = [json.loads(line) for line in (tmp_path / "rejects.jsonl").read_text().splitlines()]
    assert reject["body"] == '{"n": 13}'
    assert ["penstock-origin-queue", "shop.numbers"] in reject["headers"]


def test_an_unknown_option_is_refused_in_the_words_of_the_core(environment: Environment, tmp_path: Path) -> None:
    """The error has the place and a suggestion, as for one of our connectors."""
    (tmp_path / "queues.yml").write_text("queues:\n  numbers:\n    connector: beanstalkd\n    config: {laese: 9}\n")

    refused = environment.try_to_run("penstock", "check", "queues.yml", cwd=tmp_path)

    assert refused.returncode == 2
    assert "queues.yml:4" in refused.stdout
    assert "did you mean 'lease'" in refused.stdout


@pytest.mark.timeout(900)
def test_its_own_tests_are_green(environment: Environment, beanstalkd_server: BeanstalkdServer) -> None:
    """The conformance kit among them, on a real server; from its wheel, which is typed."""
    assert beanstalkd_server.port  # the machine has a beanstalkd, else this test is skipped

    environment.run("python", "-m", "mypy", "--cache-dir", "/dev/null", cwd=PACKAGE)
    # Four processes, each with a server of its own: most of what the kit does is waiting.
    arguments = ["-m", "pytest", "-p", "no:cacheprovider", "-n", "4", "--dist", "worksteal"]
    report = environment.run("python", *arguments, cwd=PACKAGE, PENSTOCK_TEST_REQUIRE="beanstalkd")

    assert "= conformance =" in report
    assert "BROKEN" not in report


def test_its_sources_are_not_what_is_tested(environment: Environment) -> None:
    """What its tests import is the installed wheel."""
    where = environment.run("python", "-c", "import penstock_beanstalkd as it; print(it.__file__)", cwd=ROOT)

    assert Path(where.strip()).is_relative_to(environment.folder)
