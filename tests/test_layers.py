"""Imports point down: every import of the core is checked against the order in this table.

`python -m tests.test_layers` writes the manual's page docs/architecture.md from it and from the modules' docstrings.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from tests.sources import CORE, KIT, PLUGINS, ROOT, Import, imports, modules, packages, project, strings

# The lowest row comes first. A module imports only modules of lower rows, and none of its own row. A new module gets
# its row here, as low as possible.
ROWS = """
    known_secrets  version  terminal.colours  strict_model  probes  receives  shadowing

    exports
    errors events message model_handlers data_models progress turns
    serializers
    queues.cancellation  queues.forks  starting
    observability.observers  observability.metric_definitions  observability.outages  observability.log_fields
    observability.frames
    observability.health

    bulk  client_errors  client_slot  headers  timeouts  transacted  results
    backoff  blocking  capabilities  lineage  options  middleware  routing  dead_letters  routes  worker.listener
    connectors  offsets  shared_client  pace  tls
    queues.plain_bodies  queues.foreign_codecs
    queues.threads  observability.counting
    observability.exposition  queues.joined_successes
    confirmations  leases  polling  redelivery  retry  envelope  worker.signals
    queues.one_at_a_time  queues.connection  queues.answers  observability.printable  observability.log_formats
    observability.log_lines
    checkpoints  leased
    worker.child_process
    pipeline.poison  pipeline.settlement  specs  worker.streams  worker.log_guard  worker.collector
    queues.adapters  queues.keys  queues.record_rules  terminal.tables
    queues.codec  queues.resolved_queue  hookspecs  terminal.display
    terminal.bars  terminal.rates
    terminal.run_view

    plugins.hints
    plugins.install_commands
    plugins.import_paths
    plugins.discovery
    plugins.fixes  plugins.policy
    plugins.loading
    plugins.candidates
    plugins.explain
    plugins.listing
    plugins.check
    plugins.registry

    builtin.core_schema  builtin.plugin
    builtin.reading  builtin.writing
    builtin.json_serializer  builtin.pydantic_handler  builtin.rate_limit  builtin.text_serializer  builtin.timeout

    config.fields  config.locations  config.names
    config.masking  config.problems
    config.sources  config.validation
    config.environment  config.middleware  config.model  config.routes
    config.arguments  config.without_effect  config.files  config.resolution  config.schema  worker.log_file
    worker.log_setup
    config.codecs  config.connector_class
    config.connector_options
    config.resolve
    config.report

    queues.packing
    queues.queue  queues.browsing
    operations.letters  operations.lines  operations.open  operations.peek  operations.probe
    operations.create  operations.lag  operations.publish  operations.taking  operations.origins
    operations.work
    operations.replay  operations.export
    operations.letters_file
    pipeline.prefetch  pipeline.state  pipeline.in_flight  pipeline.batch_fill
    pipeline.batch  pipeline.call_context  pipeline.propagation  pipeline.failure_log  pipeline.function
    pipeline.lease_extender  pipeline.tasks  pipeline.drain  pipeline.resources
    pipeline.open_resources  pipeline.extensions  pipeline.stream_app
    pipeline.engine_queues
    pipeline.steps  pipeline.outcomes  pipeline.strategy  pipeline.latest
    pipeline.executor  pipeline.at_least_once  pipeline.exactly_once  pipeline.dead_lettering  pipeline.tail
    pipeline.side_tasks
    pipeline.delivery  pipeline.suspects  pipeline.thread_executor  pipeline.task_executor
    pipeline.fetcher  pipeline.middleware
    pipeline.loop
    pipeline.compile

    worker.process_metrics
    worker.pages  worker.status  worker.summary
    worker.life_cycle
    worker.endpoints
    worker.supervisor
    pipeline.annotation  worker.worker
    direct.collector  direct.delivery
    direct.sending  direct.source
    direct.queues
    direct.blocking
    engine  installed  standalone

    testing.clock  testing.fault_injection  testing.production_queue
    testing.memory_queue
    testing.fakes
    testing.engine_under_test
    testing.engine_run
    testing.test_runner
    testing.harness

    cli.configured  cli.env_file  cli.json_lines  cli.exits  cli.letters_text  cli.lines_file  cli.trace
    cli.feed  cli.import_hints
    cli.apps
    cli.checked
    cli.check  cli.dead_letters  cli.plugins  cli.queue  cli.run  cli.schema
    cli.version
    cli.main
    cli.completion  cli.help
    __main__
"""

RUNS = "a program that declares an engine starts quickly; what runs it is loaded when it runs"

LAZY = {
    ("cli.main", "shadowing"): "only an import that failed is looked into",
    ("exports", "shadowing"): "only an import that failed is looked into",
    ("cli.main", "plugins.hints"): "only a command of a plugin is looked up",
    ("cli.main", "plugins.registry"): "only a command of a plugin is looked up",
    ("cli.main", "terminal.colours"): "only an option or an error needs it",
    ("cli.main", "cli.env_file"): "only an option needs it",
    ("cli.main", "observability.printable"): "only an error is escaped",
    ("config.model", "config.validation"): "only a rejected value needs an explanation",
    ("engine", "config.files"): RUNS,
    ("engine", "config.resolve"): RUNS,
    ("engine", "observability.counting"): RUNS,
    ("engine", "pipeline.annotation"): RUNS,
    ("engine", "pipeline.compile"): RUNS,
    ("engine", "pipeline.open_resources"): RUNS,
    ("engine", "queues.cancellation"): RUNS,
    ("engine", "starting"): RUNS,
    ("engine", "worker.status"): RUNS,
    ("engine", "worker.worker"): RUNS,
    ("pipeline.extensions", "config.middleware"): RUNS,
    ("pipeline.extensions", "config.resolve"): RUNS,
    ("pipeline.extensions", "config.routes"): RUNS,
    ("plugins.registry", "plugins.check"): "only `penstock plugins --check` loads everything",
    ("terminal.bars", "terminal.display"): "only a terminal shows a bar",
    ("terminal.run_view", "terminal.display"): "only a terminal shows a table",
    ("worker.supervisor", "worker.endpoints"): "not every worker has a port",
    ("worker.supervisor", "worker.process_metrics"): "not every worker has a port",
    ("worker.worker", "worker.endpoints"): "not every worker has a port",
    ("worker.worker", "worker.supervisor"): "most workers are one process",
}
"""Our own modules that are imported inside a function, and why. They keep to the rows all the same."""

PUBLIC = frozenset(
    {
        "backoff",
        "blocking",
        "bulk",
        "capabilities",
        "client_errors",
        "client_slot",
        "checkpoints",
        "confirmations",
        "connectors",
        "dead_letters",
        "errors",
        "events",
        "headers",
        "hookspecs",
        "known_secrets",
        "leased",
        "leases",
        "lineage",
        "message",
        "middleware",
        "model_handlers",
        "offsets",
        "options",
        "polling",
        "probes",
        "progress",
        "receives",
        "redelivery",
        "results",
        "retry",
        "routes",
        "serializers",
        "shared_client",
        "specs",
        "timeouts",
        "tls",
        "turns",
        "version",
    }
)
"""What plugins may import."""

FOR_PROGRAMS = frozenset({"penstock_compat"})
"""Distributions that run programs written for other libraries: they may import what programs import, the root."""

MODULES = {name.removeprefix("penstock").removeprefix("."): path for name, path in modules(CORE).items()}
FOLDERS = {name for name, path in MODULES.items() if path.name == "__init__.py"}
FLOORS = {name: floor for floor, line in enumerate(filter(None, ROWS.splitlines()), 1) for name in line.split()}
ROOMS = {
    "": "What programs and plugins import. Its public names are kept; the folders are the inside, and may change.",
    "config": "Reads a configuration, checks it, and resolves each queue.",
    "plugins": "Finds plugins, loads each by itself, and explains what is wrong with one.",
    "builtin": "The core's own plugin, found like any other.",
    "queues": "A queue that is open: connector and codec, with reconnecting.",
    "operations": "What the shell does to queues on a configuration alone, as functions for programs.",
    "direct": "Queues without an engine: send and read in a program of one's own.",
    "pipeline": "The life of a message in an engine: fetch, call, deliver, settle.",
    "observability": "Health, metrics, and text that is safe to show.",
    "worker": "The process around engines: signals, supervision, the HTTP port.",
    "terminal": "Colours, tables, bars and the rows at the bottom of a terminal. Only here is rich imported.",
    "testing": "The harness for tests of functions.",
    "cli": "The command `penstock`.",
}
"""Folder of the core → what it is for; "" is the root."""

PAGE = ROOT / "docs" / "architecture.md"
SHORT_NAMES = sorted(
    {name for plugin in (KIT, *PLUGINS) for name in project(plugin / "pyproject.toml")["entry-points"]["penstock"]}
)


def target(found: Import) -> str | None:
    """The module of the core that an import is about, without "penstock."; None for a module of another package."""
    if found.module != "penstock" and not found.module.startswith("penstock."):
        return None
    module = found.module.removeprefix("penstock").removeprefix(".")
    inner = f"{module}.{found.name}".removeprefix(".")
    return inner if inner in MODULES and inner else module


def jumps(name: str, source: str) -> list[str]:
    """What is wrong with the imports of the module `name`, a sentence each."""
    problems = []
    for found in imports(source):
        wanted = target(found)
        if wanted is None or found.typing:
            continue
        where = f"penstock.{name}, line {found.line}"
        if wanted == "":
            problems.append(f"{where}: imports {found.name or 'all'} from the package root; import it from its home")
        elif found.lazy and (name, wanted) not in LAZY:
            problems.append(
                f"{where}: imports penstock.{wanted} inside a function; move it up, or give a reason in LAZY"
            )
        elif FLOORS[wanted] >= FLOORS[name]:
            problems.append(
                f"{where}: row {FLOORS[name]} imports penstock.{wanted} of row {FLOORS[wanted]}; imports point down"
            )
    return problems


def test_every_module_has_its_row_and_every_row_its_modules() -> None:
    """A new module gets a place in the table above; a removed one leaves it."""
    assert sorted(FLOORS) == sorted(MODULES.keys() - FOLDERS)


PAGE_TEXT = """\
# Architecture

The modules of the core, in each folder the lowest ones first. [Imports point one way](#the-order), and are never
circular. A plugin imports from the root only.

`python -m tests.test_layers` writes this page from the table in `tests/test_layers.py`, against which each import is
tested.

{rooms}
## The order

A module imports only modules of the lines above its own.

```text
{order}
```
"""


def page() -> str:
    """The manual's page about the modules."""
    order = "\n".join(line.strip() for line in ROWS.strip().splitlines())
    return PAGE_TEXT.format(rooms="\n".join(map(section, ROOMS)), order=order)


def section(room: str) -> str:
    """The part of the page about one folder."""
    names = sorted((name for name in FLOORS if name.rpartition(".")[0] == room), key=lambda name: (FLOORS[name], name))
    rows = "".join(f"| `{name.rpartition('.')[2]}` | {purpose(name)} |\n" for name in names)
    return f"## {'/'.join(filter(None, ('penstock', room)))}/\n\n{ROOMS[room]}\n\n| module | |\n|---|---|\n{rows}"


def purpose(name: str) -> str:
    """The first sentences of a module's docstring."""
    docstring = ast.get_docstring(ast.parse(MODULES[name].read_text())) or ""
    return docstring.split("\n\n")[0].replace("\n", " ").replace("|", "\\|").rstrip(":")


def test_the_page_about_the_modules_is_current() -> None:
    """`python -m tests.test_layers` writes it anew."""
    assert PAGE.read_text() == page(), "run: python -m tests.test_layers"


def test_every_folder_is_explained() -> None:
    """On that page."""
    assert ROOMS.keys() == FOLDERS


@pytest.mark.parametrize("name", sorted(MODULES.keys() - FOLDERS))
def test_imports_point_down(name: str) -> None:
    """No module imports one from its own row or a row below, so there are no circles."""
    assert jumps(name, MODULES[name].read_text()) == []


@pytest.mark.parametrize("name", sorted(FOLDERS - {""}))
def test_a_folder_is_no_module(name: str) -> None:
    """To import `penstock.config.model` runs `penstock.config` too: so that imports nothing until it is asked for."""
    ours = [each for each in imports(MODULES[name].read_text()) if target(each) is not None and not each.typing]

    assert [target(each) for each in ours] in ([], ["exports"])


def test_each_lazy_import_that_has_a_reason_exists() -> None:
    """A reason without an import is removed."""
    found = {
        (name, wanted)
        for name in FLOORS
        for each in imports(MODULES[name].read_text())
        if each.lazy and (wanted := target(each))
    }

    assert found == LAZY.keys()


def upward(name: str, wanted: str) -> str:
    """The sentence about an import that does not point down."""
    return f"row {FLOORS[name]} imports penstock.{wanted} of row {FLOORS[wanted]}"


@pytest.mark.parametrize(
    ("name", "source", "problem"),
    [
        ("retry", "from penstock.engine import Engine", upward("retry", "engine")),
        ("retry", "import penstock.queues.queue", upward("retry", "queues.queue")),
        ("retry", "from penstock import engine", upward("retry", "engine")),
        ("retry", "from penstock.plugins import registry", upward("retry", "plugins.registry")),
        ("specs", "if True:\n    from penstock.queues.codec import Codec", upward("specs", "queues.codec")),
        ("specs", "from penstock.pipeline.poison import GROUP", upward("specs", "pipeline.poison")),
        ("engine", "from penstock import Worker", "imports Worker from the package root; import it from its home"),
        ("engine", "import penstock", "imports all from the package root; import it from its home"),
        (
            "engine",
            "def f():\n    from penstock.plugins.hints import x",
            "plugins.hints inside a function; ",
        ),
        ("engine", "class A:\n    from penstock.cli.main import main", "imports penstock.cli.main of row "),
    ],
)
def test_a_jump_is_seen_and_named(name: str, source: str, problem: str) -> None:
    """However it is written."""
    (told,) = jumps(name, source)

    assert told.startswith(f"penstock.{name}, line ")
    assert problem in told


def test_an_import_for_type_checkers_is_no_jump() -> None:
    """It never happens; and what belongs to others is none of this table's business."""
    source = (
        "import orjson\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from penstock.engine import Engine"
    )

    assert jumps("errors", source) == []
    assert jumps("errors", "from penstock.version import __version__") == []


# -- the core and its plugins


def plugin_names(source: str) -> list[tuple[int, str]]:
    """Where a source names a first-party plugin, or its module."""
    word = re.compile(rf"\b(penstock_)?({'|'.join(SHORT_NAMES)})\b")
    told = [(line, text) for line, text in strings(source) if word.search(text)]
    tops = [(each.line, each.module, each.module.partition(".")[0]) for each in imports(source)]
    # Python's own `http` is not our plugin.
    return told + [(line, name) for line, name, top in tops if word.search(top) and top not in sys.stdlib_module_names]


@pytest.mark.parametrize("name", sorted(FLOORS))
def test_the_core_knows_no_plugin_by_name(name: str) -> None:
    """Ours come through the same door as a third party's; only the hints know what is on offer."""
    source = MODULES[name].read_text()

    assert bool(plugin_names(source)) == (name == "plugins.hints")


def test_a_plugins_name_is_seen_in_whatever_form() -> None:
    """As text, as part of text, as an import; not as part of another word, nor in a docstring."""
    source = (
        '"""Not kafka here."""\nimport penstock_kafka.consumer\nx = "kafka"\n'
        'y = f"use {x} or rsmq"\nz = "kafkaesque"\ndef f():\n    from penstock_memory import log\nimport http\n'
    )

    assert [line for line, _ in plugin_names(source)] == [3, 4, 2, 7]


def loggers(source: str) -> set[str]:
    """The names of the loggers that a module writes to; those of libraries get a filter only."""
    return set(re.findall(r"^log = logging\.getLogger\((.*?)\)", source, re.MULTILINE))


@pytest.mark.parametrize("folder", packages(), ids=lambda folder: folder.name)
def test_loggers_are_one_tree(folder: Path) -> None:
    """`penstock` for the core and `penstock.<plugin>` for a plugin, so that one setting reaches them all."""
    name = folder.name.replace("_", ".")
    found = {logger for path in modules(folder).values() for logger in loggers(path.read_text())}

    assert {logger for logger in found if not re.fullmatch(rf'"{name}(\.\w+)?"', logger)} == set()


def plugin_modules() -> list[tuple[str, str]]:
    """Every module of every plugin: its package and its name."""
    return [
        (folder.name, name)
        for folder in packages()
        if folder.name not in (CORE.name, "penstock_kit")
        for name in modules(folder)
    ]


def private_imports(package: str, source: str) -> list[str]:
    """What a plugin imports from us without being invited."""
    problems = []
    for found in imports(source):
        wanted = target(found)
        if wanted is not None and (wanted not in PUBLIC or found.name.startswith("_")):
            problems.append(f"line {found.line}: {found.module} {found.name}")
        top = found.module.partition(".")[0]
        if top.startswith("penstock_") and top != package:
            problems.append(f"line {found.line}: {found.module}")
    return problems


@pytest.mark.parametrize(("package", "name"), plugin_modules())
def test_a_plugin_imports_only_public_modules(package: str, name: str) -> None:
    """What ours can do, a third party's can do; no name with an underscore, and no other plugin."""
    path = modules(next(folder for folder in packages() if folder.name == package))[name]

    problems = private_imports(package, path.read_text())
    if package in FOR_PROGRAMS:
        problems = [each for each in problems if not re.fullmatch(r"line \d+: penstock \w+", each)]
    assert problems == []


def test_a_private_import_is_seen() -> None:
    """The root, a private room, a private name, a sibling."""
    source = (
        "from penstock import Consumer\nfrom penstock.queues.queue import InputQueue\nfrom penstock.errors import _x\n"
        "import penstock_kafka.errors\nfrom penstock.errors import ConfigError\nimport penstock_rsmq.keys\n"
    )

    assert [each.partition(":")[0] for each in private_imports("penstock_rsmq", source)] == [
        "line 1",
        "line 2",
        "line 3",
        "line 4",
    ]


def test_what_is_public_exists_and_stands_below_the_configuration() -> None:
    """A plugin's import never pulls the engine in."""
    assert FLOORS.keys() >= PUBLIC
    assert max(FLOORS[name] for name in PUBLIC) < min(FLOORS[name] for name in FLOORS if name.startswith("config."))


if __name__ == "__main__":
    PAGE.write_text(page())
