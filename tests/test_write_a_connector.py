"""The guide for authors says what is so, and leaves nothing of the contract out."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

from penstock.capabilities import Capabilities
from penstock.cli.main import main
from penstock.config.files import load
from penstock.config.resolve import registry_for, resolve_queue
from penstock.connectors import BlockingConsumer, BlockingProducer, Consumer, Producer
from penstock.message import QueueMessage, Record
from penstock.queues.adapters import make_consumer, make_producer
from penstock_kit.backend_fixture import FACILITIES, BackendFixture
from penstock_kit.new import write_plugin
from tests.plugins.distributions import Distribution
from tests.test_private_names import CONTRACTS, FOR_TESTS

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "how_to" / "write_a_connector.md").read_text()


def blocks(language: str) -> list[str]:
    """The code blocks of a language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `penstock new plugin acme` writes."""
    return write_plugin("acme", tmp_path_factory.mktemp("guide"))


def test_it_is_a_page_to_read_in_one_go() -> None:
    """About 300 lines."""
    assert 250 <= len(GUIDE.splitlines()) <= 330


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.splitlines()[0])
def test_every_snippet_stands_in_the_package_that_works(block: str, package: Path) -> None:
    """Letter by letter, in the file that its first line names; that this package works, others test."""
    name, snippet = block.split("\n", 1)
    (file,) = package.rglob(name.removeprefix("# "))

    assert snippet in file.read_text()


def test_the_first_commands_are_those_that_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first makes the folder that the second enters; the others are what `penstock new` itself says."""
    first, enter, *rest = blocks("bash")[0].splitlines()
    monkeypatch.chdir(tmp_path)

    assert main(first.split()[1:]) == 0
    assert (tmp_path / enter.removeprefix("cd ") / "pyproject.toml").is_file()
    assert rest == ["pip install -e '.[test]'", "pytest"]


def test_every_file_of_its_table_is_there(package: Path) -> None:
    """And each of the package's modules is in the table."""
    named = set(re.findall(r"^\| `([\w./]+\.(?:py|toml))` \|", GUIDE, re.MULTILINE))
    modules = {path.relative_to(package).as_posix() for path in package.glob("src/*/*.py") if path.stem != "__init__"}

    assert {name for name in named if not (package / name).is_file()} == set()
    assert modules - named == set()


def test_it_names_the_modules_that_are_public() -> None:
    """All of them, and no others."""
    listed = re.search(r"Import from these modules only.*?\n\n", GUIDE, re.DOTALL)
    assert listed
    names = set(re.findall(r"`(penstock\.)?([a-z_.]+)`", listed[0]))

    assert {
        name if name == "penstock_kit" else f"penstock.{name}" for _prefix, name in names
    } == CONTRACTS | FOR_TESTS - {"penstock"}


def _methods(*classes: type) -> Iterator[str]:
    for each in classes:
        yield from (name for name in vars(each) if inspect.isfunction(vars(each)[name]) and not name.startswith("_"))


@pytest.mark.parametrize(
    "name",
    sorted(
        {
            *_methods(Consumer, Producer, BlockingConsumer, BlockingProducer),
            *QueueMessage.__slots__,
            *(field.name for field in fields(Capabilities)),
            *(name for name in vars(BackendFixture) if not name.startswith("_") and name != "offers"),
            *FACILITIES,
            *("keep_polling", "settles_at_once", "retry_after", "retriable"),
            *("PLUGIN_API", "FromEnvironment", "SecretStr"),
            *("NotConnected", "FatalConnectorError", "ProduceError", "ConnectorError"),
        }
    ),
)
def test_it_leaves_nothing_of_the_contract_out(name: str) -> None:
    """Every method, field, capability, error, and every means of the backend fixture has its word."""
    assert re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", GUIDE)


def test_a_connector_without_a_fence_gets_the_answer_that_the_guide_shows(tmp_path: Path) -> None:
    """The package, with its fence taken away, under the conformance kit."""
    package = write_plugin("acme", tmp_path)
    consumer = package / "src" / "penstock_acme" / "consumer.py"
    fence = '"WHERE id = ? AND attempts = ? AND owner = ?"'
    assert fence in consumer.read_text()
    consumer.write_text(consumer.read_text().replace(fence, '"WHERE id = ? AND ? IS NOT NULL AND ? IS NOT NULL"'))
    Distribution("penstock-acme", {}, {"acme": "penstock_acme.plugin"}).unpack(package / "src")

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-k", "lease_that_ends", "--tb=short"],
        cwd=package, env={**os.environ, "PYTHONPATH": "src"}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 1, done.stdout + done.stderr
    (answer,) = blocks("text")
    for line in answer.splitlines():
        assert line.strip() in done.stdout


CLASSES = """
from penstock import QueueMessage

stored = []


class MyConsumer:
    def __init__(self, queue_name, host, config):
        self.made_of = f"{queue_name} {host} {config}"

    def consume(self):
        return QueueMessage("a handle", self.made_of)

    def on_success(self, message_context): ...
    def on_fail(self, message_context): ...
    def shutdown(self): ...


class MyProducer:
    def __init__(self, queue_name, host, config):
        self.made_of = f"{queue_name} {host} {config}"

    def produce(self, queue_name, message, message_context, **options):
        stored.append((self.made_of, queue_name, message))
        return True

    def shutdown(self): ...
"""


def test_classes_that_exist_already_are_named_in_a_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the guide writes it: they are made with its keywords, bring a message in and take one out."""
    (tmp_path / "guide_app").mkdir()
    (tmp_path / "guide_app" / "queues.py").write_text(CLASSES)
    (tmp_path / "queues.yml").write_text(blocks("yaml")[0].replace("my_app", "guide_app"))
    monkeypatch.syspath_prepend(str(tmp_path))
    configuration = load(tmp_path / "queues.yml")

    async def from_one_to_the_other() -> None:
        registry = registry_for(configuration)
        resolved = resolve_queue(configuration, "orders", "input", registry=registry)
        consumer = make_consumer(resolved.connector_class, resolved.value, resolved.options)
        resolved = resolve_queue(configuration, "orders", "output", registry=registry)
        producer = make_producer(resolved.connector_class, resolved.value, resolved.options)
        try:
            await consumer.connect()
            await producer.connect()
            (message,) = await consumer.consume(1, 0.0)
            assert await producer.produce([Record(message.message)]) == [None]
        finally:
            await consumer.shutdown()
            await producer.shutdown()

    asyncio.run(from_one_to_the_other())

    made_of = "orders db.internal {}"
    assert import_module("guide_app.queues").stored == [(made_of, "orders", made_of.encode())]
