"""A configuration in any of its forms (YAML, TOML, dict, `QueueConfig` objects) into one `Configuration`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, TypeVar

from penstock.config.environment import substitute, unfit, unfit_texts
from penstock.config.faults import Fault, in_brackets, placed
from penstock.config.model import (
    Configuration,
    EngineSettings,
    InvalidSettings,
    PluginSettings,
    QueueConfig,
    Settings,
    WorkerSettings,
)
from penstock.config.places import Path, Places
from penstock.config.sources import Parsed, parse
from penstock.errors import ConfigError
from penstock.plugins.hints import nearest

Source = str | FilePath | Mapping[str, Any] | Sequence[QueueConfig | Mapping[str, Any]]

SECTIONS = ("queues", "engine", "worker", "plugins")

_Section = TypeVar("_Section", bound=Settings)


def load(source: Source | Configuration, environment: Mapping[str, str] = os.environ) -> Configuration:
    """Read a configuration; what is given is never changed.

    Args:
        source: A path to a YAML or TOML file, or the same as Python data: a mapping with `queues` and, if wanted,
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
) -> tuple[Configuration, Sequence[str]]:
    """As `load`, for who wants to judge what is good even if something else is not.

    Returns:
        What could be read, and the problems; a queue or section with a problem is left out, or has its defaults.

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
        self.missing: dict[str, Sequence[Fault]] = {}

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
        return Configuration(self.queues, engine, worker, plugins, self.places(), self.used, self.missing)

    def places(self) -> Places:
        return Places(self.file, self.parsed.marks, self.roots)

    def where(self, spelled: Path) -> str:
        """The beginning of a sentence about something that belongs to no queue and no section."""
        return Places(self.file, self.parsed.marks).of(spelled).exact or "the configuration"

    def unknown_sections(self, whole: Mapping[Any, Any]) -> None:
        for key in whole:
            if key not in SECTIONS:
                guess = nearest(str(key), SECTIONS)
                hint = (
                    f"did you mean {guess!r}?"
                    if guess
                    else "these are 'queues', 'engine', 'worker', 'plugins'; a queue stands under 'queues'"
                )
                self.problems.append(f"{self.where((key,))}: {key!r} is not a section; {hint}")

    def read_queues(self, queues: Any, root: Path) -> None:
        if queues is None or (isinstance(queues, Mapping | Sequence) and not queues):
            self.problems.append(f"{self.where(root)}: has no queues; name at least one under 'queues'")
        elif isinstance(queues, Mapping):
            for key, settings in queues.items():
                self.read_named(key, settings, (*root, key))
        elif isinstance(queues, Sequence) and not isinstance(queues, str | bytes):
            for index, settings in enumerate(queues):
                self.read_listed(index, settings, (*root, index))
        else:
            self.problems.append(
                f"{self.where(root)}: queues are a mapping from names to settings, or a list; this is neither"
            )

    def read_named(self, key: Any, settings: Any, spelled: Path) -> None:
        if not isinstance(key, str):
            self.problems.append(f"{self.where(spelled)}: a queue's name is text, not of type {type(key).__name__}")
            return
        self.roots["queues", key] = spelled
        values = _as_mapping({} if settings is None else settings)
        hint = _section_hint(key, spelled)
        if values is None:
            self.refuse(repr(key), spelled, f"its settings must be a mapping{hint}")
        elif hint and values and not values.keys() & QueueConfig.model_fields.keys():
            self.refuse(repr(key), spelled, f"none of its keys is a queue's{hint}")
        elif values.get("name", key) != key:
            self.refuse(repr(key), (*spelled, "name"), "'name' differs from the key that names the queue; leave it out")
        else:
            self.read_queue(key, values, spelled)

    def read_listed(self, index: int, settings: Any, spelled: Path) -> None:
        who = f"number {index + 1}"
        values = _as_mapping(settings)
        if values is None:
            self.refuse(who, spelled, "its settings must be a mapping with a 'name'")
        elif "name" not in values:
            near = nearest("name", (str(key) for key in values))
            self.refuse(who, spelled, f"has no 'name'; {f'did you mean that by {near!r}?' if near else 'write one'}")
        else:
            name = substitute(values["name"], self.environment, (*spelled, "name"), len(spelled))
            if faults := name.missing + name.broken + _unfit(name.values, (*spelled, "name"), len(spelled)):
                self.problems += placed(faults, f"queue {who}", Places(self.file, self.parsed.marks))
            elif not isinstance(name.values, str) or not name.values:
                self.refuse(who, (*spelled, "name"), "'name' must be text; put it in quotes")
            elif ("queues", name.values) in self.roots:
                first = self.places().of(("queues", name.values)).exact
                also = f", first at {first}" if first else ""
                self.refuse(repr(name.values), spelled, f"the name is given twice{also}; rename or remove one")
            else:
                self.read_queue(name.values, values, spelled)

    def refuse(self, who: str, spelled: Path, text: str) -> None:
        """Note a problem with the shape of a queue, which may not have a name yet."""
        place = Places(self.file, self.parsed.marks).of(spelled).exact
        self.problems.append(f"queue {who}{in_brackets(place)}: {text}")

    def read_queue(self, name: str, values: Mapping[str, Any], spelled: Path) -> None:
        path: Path = ("queues", name)
        self.roots[path] = spelled
        if self.has_odd_keys(f"queue {name!r}", values):
            return
        filled = substitute({**values, "name": ""}, self.environment, path, len(path))
        self.used |= filled.used
        self.missing[name] = filled.missing
        faults = filled.broken + _unfit(filled.values, path, len(path))
        if (problem := unfit(name)) is not None:
            faults.append(Fault((*path, "name"), f"'name' {problem}"))
        settings = {**filled.values, "name": name}
        try:
            self.queues[name] = QueueConfig(**settings)
        except InvalidSettings as error:
            unset = {fault.path for fault in filled.missing}
            wrong = [fault for fault in _below(path, error.faults) if fault.path not in unset]
            faults += [*wrong, *(filled.missing if wrong else ())]
            if not wrong:
                # A switch or a number that waits for its variable: the queue is good but for that.
                keep = settings.keys() - {fault.path[0] for fault in error.faults}
                self.queues[name] = QueueConfig(**{key: settings[key] for key in keep})
        self.problems += placed(faults, f"queue {name!r}", self.places())

    def section(self, model: type[_Section], key: str, whole: Mapping[str, Any]) -> _Section:
        values = whole.get(key)
        self.roots[(key,)] = (key,)
        if values is None:
            return model()
        if isinstance(values, model):
            return values
        if not isinstance(values, Mapping):
            self.problems.append(f"{self.where((key,))}: {key!r} must be a mapping")
            return model()
        if self.has_odd_keys(key, values):
            return model()
        filled = substitute(values, self.environment, (key,), 1)
        self.used |= filled.used
        faults = filled.broken + _unfit(filled.values, (key,), 1) + filled.missing
        unset = {fault.path for fault in faults}
        try:
            section = model(**filled.values)
        except InvalidSettings as error:
            faults += [fault for fault in _below((key,), error.faults) if fault.path not in unset]
            section = model()
        self.problems += placed(faults, key, self.places())
        return section

    def has_odd_keys(self, subject: str, values: Mapping[Any, Any]) -> bool:
        """Only Python data can have them: the file formats were checked where they were read."""
        odd = [key for key in values if not isinstance(key, str)]
        self.problems += [f"{subject}: a key is of type {type(key).__name__}; keys are text" for key in odd]
        return bool(odd)


def _section_hint(key: str, spelled: Path) -> str:
    """For a queue in a configuration without `queues`: it may be a section that found itself among queues."""
    guess = nearest(key, SECTIONS) if len(spelled) == 1 else None
    if guess is None:
        return ""
    remedy = "put the queues under 'queues'" if guess == key else f"write {guess!r}"
    return f"; if the section {guess!r} is meant, {remedy}"


def _as_mapping(settings: Any) -> Mapping[str, Any] | None:
    if isinstance(settings, QueueConfig):
        # Only what was given: a default must not look like a choice.
        return {key: getattr(settings, key) for key in settings.model_fields_set}
    return settings if isinstance(settings, Mapping) else None


def _unfit(values: Any, path: Path, shown_from: int) -> list[Fault]:
    return list(unfit_texts(values, path, shown_from))


def _below(path: Path, faults: Sequence[Fault]) -> Iterator[Fault]:
    return (Fault(path + fault.path, fault.text) for fault in faults)
