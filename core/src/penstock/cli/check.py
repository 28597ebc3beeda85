"""`penstock check`: judges programs and configurations, prints what they set, and asks the servers if wanted."""

from __future__ import annotations

import asyncio
import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any

from penstock.cli.apps import CONFIGURATIONS
from penstock.cli.checked import ROLES, Checked, CheckedQueue, check_configuration, check_programs
from penstock.config.report import Row, engine_rows, queue_rows, section_rows
from penstock.config.without_effect import (
    engine_options_without_effect,
    notes_on_outputs,
    worker_options_without_effect,
)
from penstock.errors import ConfigError, FunctionError, PluginError
from penstock.known_secrets import hide
from penstock.observability.printable import lines, one_line
from penstock.operations.probe import ProbedQueue, probe
from penstock.options import Role
from penstock.terminal.colours import green, red
from penstock.terminal.tables import print_table


def configure(parser: ArgumentParser) -> None:
    """Add the arguments of `penstock check`."""
    parser.add_argument(
        "targets",
        nargs="+",
        metavar="APP|CONFIG",
        help="a program, as `penstock run` takes it, or a YAML, TOML or JSON file",
    )
    parser.add_argument("--config", metavar="FILE", help="check the programs with this configuration, not their own")
    parser.add_argument("--all", action="store_true", help="print all values, not only those that are not the default")
    parser.add_argument("--json", action="store_true", help="print everything as one JSON object")
    parser.add_argument(
        "--connect",
        action="store_true",
        help="ask the servers, too: reachable, authorised, queue there, group readable, clock; 1 if one fails",
    )
    parser.add_argument("--role", choices=ROLES, help="check every queue of a CONFIG for this role only")
    parser.add_argument(
        "--input", action="append", default=[], metavar="QUEUE", help="this queue must work as an input (repeatable)"
    )
    parser.add_argument(
        "--output", action="append", default=[], metavar="QUEUE", help="this queue must work as an output (repeatable)"
    )
    parser.epilog = (
        "A program is judged as its start judges it. A configuration alone does not say which queue is an input. So a "
        "queue is checked for both roles; a problem that affects one of them only is a note, unless --role, --input or "
        "--output says that this role is wanted."
    )


def run(arguments: Namespace) -> int:
    """Print what was checked; 0 if it works, 1 if a server was asked and does not.

    Raises:
        ConfigError: with every problem, which the command line prints on stderr before it exits with 2.
    """
    if not arguments.json:
        checked = _check(arguments)
        for each in checked:
            _print(each, everything=arguments.all)
        if not arguments.connect:
            return 0
        print()
        return _connect(checked, _print_answer)
    try:
        checked = _check(arguments)
    except (ConfigError, PluginError, FunctionError) as error:
        problems = error.problems if isinstance(error, ConfigError) else [str(error)]
        print(json.dumps({"ok": False, "problems": [hide(str(problem)) for problem in problems]}, indent=2))
        return 2
    answers: list[ProbedQueue] = []
    code = _connect(checked, answers.append) if arguments.connect else 0
    print(json.dumps({"ok": code == 0, "problems": [], **_as_data(checked, answers)}, indent=2))
    return code


def _check(arguments: Namespace) -> list[Checked]:
    files = [name for name in arguments.targets if name.lower().endswith(CONFIGURATIONS)]
    programs = [name for name in arguments.targets if name not in files]
    if arguments.config is not None and not programs:
        raise ConfigError(f"--config {arguments.config}: it is for programs; name one, or the file alone")
    wanted: dict[str, set[Role]] = {}
    for role in ROLES:
        for name in getattr(arguments, role):
            wanted.setdefault(name, set()).add(role)
    if (wanted or arguments.role) and not files:
        raise ConfigError("--role, --input and --output are for a configuration alone; a program says what it uses")
    checks: list[Callable[[], Checked]] = [
        lambda file=file: check_configuration(file, wanted, arguments.role)  # type: ignore[misc]
        for file in files
    ]
    if programs:
        checks.append(lambda: check_programs(programs, arguments.config))
    checked, refused = [], []
    for check in checks:
        try:
            checked.append(check())
        except ConfigError as error:
            refused.append(error)
    if len(refused) == 1:
        raise refused[0]
    if refused:
        raise ConfigError(*dict.fromkeys(problem for error in refused for problem in error.problems))
    return checked


def _print(checked: Checked, *, everything: bool) -> None:
    counts = [(len(checked.engines), "engine"), (len(checked.queues), "queue")]
    told = ", ".join(f"{count} {what}{'' if count == 1 else 's'}" for count, what in counts if count or what == "queue")
    print(f"{checked.name}: {told}, no problems")
    for title, rows, notes in _parts(checked):
        shown = [row for row in rows if everything or not row.is_default]
        if shown or notes or title.startswith("queue "):
            print(f"\n{title}")
        if shown:
            print_table([(row.key, row.value, row.origin) for row in shown], indent="  ", styles={"default": "dim"})
        for note in notes:
            print(f"  note: {lines(note)}")


def _parts(checked: Checked) -> Iterable[tuple[str, Sequence[Row], Sequence[str]]]:
    """The parts of a report: each with a title, rows and notes."""
    for engine in checked.engines:
        rows = [
            Row("input", engine.input_queue, "program"),
            *(Row("output", name, "program") for name in engine.output_queues),
            *([Row("dead_letter_queue", engine.dead_letter_queue, "program")] if engine.dead_letter_queue else []),
        ]
        rows += engine_rows(engine.configuration, engine.settings, engine.given)
        source = next(view for view in checked.queues[engine.input_queue].views if view.role == "input")
        dead_letters = engine.dead_letter_queue is not None
        notes = list(engine_options_without_effect(engine.settings, source, dead_letters=dead_letters))
        outputs = dict.fromkeys([*engine.output_queues, engine.dead_letter_queue or ""])
        known = [checked.queues[name] for name in outputs if name in checked.queues]
        targets = [view for queue in known for view in queue.views if view.role == "output"]
        notes += notes_on_outputs(engine.settings, targets, engine.dead_letter_queue)
        yield f"engine {one_line(engine.app_name)}", rows, notes
    for name, queue in checked.queues.items():
        uses = f": {', '.join(queue.uses)}" if queue.uses else ""
        rows = queue_rows(queue.configuration.queues[name], queue.views)
        yield f"queue {one_line(name)}{one_line(uses)}", rows, _notes(queue)
    for section in ("worker", "plugins") if checked.engines else ("engine", "worker", "plugins"):
        notes = list(worker_options_without_effect(checked.configuration.worker)) if section == "worker" else []
        yield section, section_rows(checked.configuration, section), notes


def _notes(queue: CheckedQueue) -> list[str]:
    roles = {"input": "an input", "output": "an output"}
    return [f"not usable as {roles[note.role or 'output']}: {note}" for note in queue.notes]


def _connect(checked: Sequence[Checked], told: Callable[[ProbedQueue], object]) -> int:
    """Ask the servers of all queues at once; 1 if one of them is not as a worker needs it."""
    queues = [view for each in checked for queue in each.queues.values() for view in queue.to_ask()]

    async def ask() -> int:
        code = 0
        async with aclosing(probe(queues)) as answers:
            async for answered in answers:
                told(answered)
                code = code if answered.ok else 1
        return code

    return asyncio.run(ask())


def _print_answer(answered: ProbedQueue) -> None:
    state = green("ok    ", sys.stdout) if answered.ok else red("FAILED", sys.stdout)
    queue = answered.queue
    told = one_line(f"queue {queue.name!r} ({queue.role}, {queue.connector}): {answered.text}")
    print(f"{state}  {told}", flush=True)


def _as_data(checked: Sequence[Checked], answers: Sequence[ProbedQueue]) -> dict[str, Any]:
    parts = [part for each in checked for part in _parts(each)]
    data: dict[str, Any] = {
        "parts": [
            {
                "title": title,
                "settings": [{"key": row.key, "value": row.value, "origin": row.origin} for row in rows],
                "notes": list(notes),
            }
            for title, rows, notes in parts
        ]
    }
    if answers:
        data["servers"] = [
            {
                "queue": each.queue.name,
                "role": each.queue.role,
                "connector": each.queue.connector,
                "ok": each.ok,
                "answers": [{"question": a.question, "ok": a.ok, "text": a.text} for a in each.answers],
            }
            for each in answers
        ]
    return data
