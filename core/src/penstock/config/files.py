"""Reads a configuration in any form (YAML, TOML, JSON, dict, `QueueConfig` objects) into one `Configuration`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any, TypeVar

from penstock.config.environment import substitute, unusable, unusable_texts
from penstock.config.locations import Locations, Path
from penstock.config.model import (
    Configuration,
    EngineSettings,
    PluginSettings,
    QueueConfig,
    Settings,
    WorkerSettings,
)
from penstock.config.problems import Problem, located
from penstock.config.sources import Parsed, parse
from penstock.errors import ConfigError
from penstock.plugins.hints import nearest

Source = str | FilePath | Mapping[str, Any] | Sequence[QueueConfig | Mapping[str, Any]]

SECTIONS = ("queues", "engine", "worker", "plugins")

_Section = TypeVar("_Section", bound=Settings)


def load(source: Source | Configuration, environment: Mapping[str, str] = os.environ) -> Configuration:
    """Read a configuration. Never changes its argument.

    Args:
        source: A path to a YAML, TOML or JSON file, or the same as Python data: a mapping with `queues` and, if wanted,
            `engine`, `worker` and `plugins`; a mapping from queue names to their settings; a list of queues.
        environment: Fills `${NAME}` in values.

    Raises:
        ConfigError: with every problem found: files that do not parse, unknown keys, wrong types, names given twice.
    """
    configuration, problems = read(source, environment)
    if problems:
        raise ConfigError(*problems)
    return configuration


def read(
    source: Source | Configuration, environment: Mapping[str, str] = os.environ
) -> tuple[Configuration, Sequence[Problem]]:
    """Like `load`, but returns the problems, so that the valid parts can still be checked.

    Returns:
        What could be read, and the problems. A queue with a problem is left out, a section with one has its defaults.

    Raises:
        ConfigError: nothing could be read at all.
    """
    if isinstance(source, Configuration):
        return source, ()
    if isinstance(source, str) and "\n" in source:
        raise ConfigError(
            "the configuration was given as a text of several lines; give the path of a file, or a mapping"
        )
    if isinstance(source, str | FilePath):
        loader = _Loader(parse(FilePath(source)), str(source), environment)
    else:
        loader = _Loader(Parsed(source), "", environment)
    return loader.configuration(), loader.problems


class _Loader:
    """Collects the parts and the problems of one source."""

    def __init__(self, parsed: Parsed, file: str, environment: Mapping[str, str]) -> None:
        self.parsed = parsed
        self.file = file
        self.environment = environment
        self.problems = list(parsed.problems)
        self.queues: dict[str, QueueConfig] = {}
        self.roots: dict[Path, Path] = {}
        self.used: dict[Path, tuple[str, ...]] = {}
        self.missing: dict[str, Sequence[Problem]] = {}

    def configuration(self) -> Configuration:
        whole = self.parsed.values
        if isinstance(whole, Mapping) and "queues" in whole:
            self.unknown_sections(whole)
            self.read_queues(whole["queues"], ("queues",))
        else:
            self.read_queues(whole, ())
            whole = {}
        engine = self.section(EngineSettings, "engine", whole)
        worker = self.section(WorkerSettings, "worker", whole)
        plugins = self.section(PluginSettings, "plugins", whole)
        return Configuration(self.queues, engine, worker, plugins, self.locations(), self.used, self.missing)

    def locations(self) -> Locations:
        return Locations(self.file, self.parsed.marks, self.roots)

    def problem(self, spelled: Path, text: str, subject: str = "") -> None:
        """Note a problem with something that has no valid name yet, at the path that the source uses for it."""
        location = Locations(self.file, self.parsed.marks).of(spelled)
        self.problems.append(Problem(spelled, text, subject, location if subject or self.file else "the configuration"))

    def unknown_sections(self, whole: Mapping[Any, Any]) -> None:
        for key in whole:
            if key not in SECTIONS:
                guess = nearest(str(key), SECTIONS)
                hint = (
                    f"did you mean {guess!r}?"
                    if guess
                    else "these are 'queues', 'engine', 'worker', 'plugins'; a queue stands under 'queues'"
                )
                self.problem((key,), f"{key!r} is not a section; {hint}")

    def read_queues(self, queues: Any, root: Path) -> None:
        if queues is None or (isinstance(queues, Mapping | Sequence) and not queues):
            self.problem(root, "has no queues; name at least one under 'queues'")
        elif isinstance(queues, Mapping):
            for key, settings in queues.items():
                self.read_named(key, settings, (*root, key))
        elif isinstance(queues, Sequence) and not isinstance(queues, str | bytes):
            for index, settings in enumerate(queues):
                self.read_listed(index, settings, (*root, index))
        else:
            self.problem(root, "queues are a mapping from names to settings, or a list; this is neither")

    def read_named(self, key: Any, settings: Any, spelled: Path) -> None:
        if not isinstance(key, str):
            self.problem(spelled, f"a queue's name is text, not of type {type(key).__name__}")
            return
        self.roots["queues", key] = spelled
        values = _as_mapping({} if settings is None else settings)
        hint, subject = _section_hint(key, spelled), f"queue {key!r}"
        if values is None:
            self.problem(spelled, f"its settings must be a mapping{hint}", subject)
        elif hint and values and not values.keys() & QueueConfig.model_fields.keys():
            self.problem(spelled, f"none of its keys is a queue's{hint}", subject)
        elif (meant := _misspelt_name(values)) is not None:
            self.problem(
                (*spelled, meant), f"{meant!r} is not a key of a queue; remove it: the queue is named {key!r}", subject
            )
        elif values.get("name", key) != key:
            self.problem((*spelled, "name"), "'name' differs from the key that names the queue; leave it out", subject)
        else:
            self.read_queue(key, values, spelled)

    def read_listed(self, index: int, settings: Any, spelled: Path) -> None:
        subject = f"queue number {index + 1}"
        values = _as_mapping(settings)
        if values is None:
            self.problem(spelled, "its settings must be a mapping with a 'name'", subject)
        elif "name" not in values:
            near = nearest("name", (str(key) for key in values))
            hint = f"did you mean that by {near!r}?" if near else "write one"
            self.problem(spelled, f"has no 'name'; {hint}", subject)
        else:
            name = substitute(values["name"], self.environment, (*spelled, "name"), len(spelled))
            if found := name.missing + name.broken + _unusable(name.values, (*spelled, "name"), len(spelled)):
                self.problems += located(found, subject, Locations(self.file, self.parsed.marks))
            elif not isinstance(name.values, str) or not name.values:
                self.problem((*spelled, "name"), "'name' must be text; put it in quotes", subject)
            elif ("queues", name.values) in self.roots:
                first = self.locations().of(("queues", name.values)).exact
                also = f", first at {first}" if first else ""
                text = f"the name is given twice{also}; rename or remove one"
                self.problem(spelled, text, f"queue {name.values!r}")
            else:
                self.read_queue(name.values, values, spelled)

    def read_queue(self, name: str, values: Mapping[str, Any], spelled: Path) -> None:
        path: Path = ("queues", name)
        self.roots[path] = spelled
        if self.has_odd_keys(f"queue {name!r}", values):
            return
        filled = substitute({**values, "name": ""}, self.environment, path, len(path))
        self.used |= filled.used
        self.missing[name] = filled.missing
        problems = filled.broken + _unusable(filled.values, path, len(path))
        if (defect := unusable(name)) is not None:
            problems.append(Problem((*path, "name"), f"'name' {defect}"))
        settings = {**filled.values, "name": name}
        try:
            self.queues[name] = QueueConfig(**settings)
        except ConfigError as error:
            unset = {problem.path for problem in filled.missing}
            wrong = [problem for problem in _below(path, error.details) if problem.path not in unset]
            problems += [*wrong, *(filled.missing if wrong else ())]
            if not wrong:
                # Only values that wait for their variable were rejected, such as a number: the rest is valid.
                keep = settings.keys() - {problem.path[0] for problem in error.details}
                self.queues[name] = QueueConfig(**{key: settings[key] for key in keep})
        self.problems += located(problems, f"queue {name!r}", self.locations())

    def section(self, model: type[_Section], key: str, whole: Mapping[str, Any]) -> _Section:
        values = whole.get(key)
        self.roots[(key,)] = (key,)
        if values is None:
            return model()
        if isinstance(values, model):
            return values
        if not isinstance(values, Mapping):
            self.problem((key,), f"{key!r} must be a mapping")
            return model()
        if self.has_odd_keys(key, values):
            return model()
        filled = substitute(values, self.environment, (key,), 1)
        self.used |= filled.used
        problems = filled.broken + _unusable(filled.values, (key,), 1) + filled.missing
        unset = {problem.path for problem in problems}
        try:
            section = model(**filled.values)
        except ConfigError as error:
            problems += [problem for problem in _below((key,), error.details) if problem.path not in unset]
            section = model()
        self.problems += located(problems, key, self.locations())
        return section

    def has_odd_keys(self, subject: str, values: Mapping[Any, Any]) -> bool:
        """Whether keys are not text. Only Python data can have them: the parsers check the file formats."""
        odd = [key for key in values if not isinstance(key, str)]
        self.problems += [Problem((), f"a key is of type {type(key).__name__}; keys are text", subject) for key in odd]
        return bool(odd)


def _misspelt_name(values: Mapping[str, Any]) -> str | None:
    """A key that looks like `name`, which a queue in a mapping has already."""
    unknown = (str(key) for key in values if key not in QueueConfig.model_fields)
    return next((key for key in unknown if nearest(key, QueueConfig.model_fields) == "name"), None)


def _section_hint(key: str, spelled: Path) -> str:
    """A hint for an unknown key in a configuration without `queues`, where it may be meant as a section."""
    guess = nearest(key, SECTIONS) if len(spelled) == 1 else None
    if guess is None:
        return ""
    remedy = "put the queues under 'queues'" if guess == key else f"write {guess!r}"
    return f"; if the section {guess!r} is meant, {remedy}"


def _as_mapping(settings: Any) -> Mapping[str, Any] | None:
    if isinstance(settings, QueueConfig):
        # Only the given keys: a default must not look like a choice.
        return {key: getattr(settings, key) for key in settings.model_fields_set}
    return settings if isinstance(settings, Mapping) else None


def _unusable(values: Any, path: Path, shown_from: int) -> list[Problem]:
    return list(unusable_texts(values, path, shown_from))


def _below(path: Path, problems: Sequence[Problem]) -> Iterator[Problem]:
    return (replace(problem, path=path + problem.path) for problem in problems)
