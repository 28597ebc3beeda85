"""Reads YAML, TOML and JSON into plain data and the location of every key. No other module knows a file format."""

from __future__ import annotations

import errno
import json
import os
import stat
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import yaml

from penstock.config.locations import Path, SourceLocation, dotted
from penstock.config.problems import Problem
from penstock.errors import ConfigError

MAX_BYTES = 512 * 1024  # of a file; parsing more would delay the start by minutes
MAX_STEPS = 32  # of one dotted TOML key
MAX_DOTS = 5_000  # in all keys of a TOML file: each costs its parser time, in one key their square
MAX_VALUES = 100_000  # values in a file, aliases expanded; more than that is an alias bomb, not a configuration

_MAP, _SEQ, _MERGE, _INT, _FLOAT = (f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "merge", "int", "float"))


@dataclass(frozen=True, slots=True)
class Parsed:
    """A file's content.

    Attributes:
        values: Plain data, without the parts that `problems` reports.
        marks: Line and column, from 1, of each key and list item; TOML and JSON have none.
        problems: What is wrong in well-formed text, such as a key given twice.
    """

    values: Any
    marks: Mapping[Path, tuple[int, int]] = field(default_factory=dict)
    problems: Sequence[Problem] = ()


def parse(file: FilePath) -> Parsed:
    """Read a file by its suffix.

    Raises:
        ConfigError: it is not there, cannot be read, has another suffix or is not well formed; no line of it is shown,
            since it may hold a secret.
    """
    suffix = file.suffix.lower()
    if suffix not in (".yml", ".yaml", ".toml", ".json"):
        raise ConfigError(
            f"{file}: a configuration is YAML, TOML or JSON; let the name end in .yml, .yaml, .toml or .json"
        )
    try:
        text = _content(file).decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{file}: there is no such file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    try:
        return _PARSERS[suffix](file, text) if suffix in _PARSERS else _Yaml(file, text).parse()
    except RecursionError:
        raise ConfigError(f"{file}: is nested too deeply") from None


def _content(file: FilePath) -> bytes:
    """The bytes of a regular file; reading anything else might never end.

    Raises:
        ConfigError: it is something else, or too large.
        OSError: it is not there or cannot be read.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)  # opening a pipe without a writer would block
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            kind = next((name for is_it, name in _OTHER_FILES if is_it(mode)), "not a regular file")
            raise ConfigError(f"{file}: is {kind}; a configuration is a regular file")
        with open(descriptor, "rb", closefd=False) as opened:
            content = opened.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > MAX_BYTES:
        raise ConfigError(
            f"{file}: is larger than {MAX_BYTES // 1024} KiB, which no configuration is; name another file"
        )
    return content


_OTHER_FILES: Sequence[tuple[Callable[[int], bool], str]] = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def _toml(file: FilePath, text: str) -> Parsed:
    _reject_many_dots(file, text)
    try:
        return Parsed(tomllib.loads(text))
    except ValueError as error:  # TOMLDecodeError, or a number with more digits than Python reads
        raise ConfigError(f"{file}: is not well-formed TOML: {error}") from None


def _reject_many_dots(file: FilePath, text: str) -> None:
    total = 0
    for number, line in enumerate(text.splitlines(), 1):
        if "." not in line:
            continue
        before, equals, after = line.partition("=")
        # Also the first key of an inline table.
        key = before + after.partition("=")[0] if "{" in after else before
        dots = key.count(".") if equals or line.lstrip().startswith("[") else 0
        total += dots
        if dots >= MAX_STEPS:
            raise ConfigError(f"{file}:{number}: a key has more than {MAX_STEPS} steps; name another file")
        if total > MAX_DOTS:
            raise ConfigError(
                f"{file}:{number}: the keys up to here have more than {MAX_DOTS:,} dots; write tables instead"
            )


def _json(file: FilePath, text: str) -> Parsed:
    def once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in pairs:
            if key in values:
                raise ConfigError(f"{file}: the key {key!r} is given twice; rename or remove one")
            values[key] = value
        return values

    try:
        return Parsed(json.loads(text, object_pairs_hook=once))
    except json.JSONDecodeError as error:
        place = f"{file}:{error.lineno}:{error.colno}"
        raise ConfigError(f"{place}: is not well-formed JSON: {error.msg}") from None
    except ValueError as error:  # a number with more digits than Python reads
        raise ConfigError(f"{file}: is not well-formed JSON: {error}") from None


_PARSERS: Mapping[str, Callable[[FilePath, str], Parsed]] = {".toml": _toml, ".json": _json}


class _Yaml:
    """Reads one file with PyYAML's safe loader, node by node, because only nodes know their line."""

    def __init__(self, file: FilePath, text: str) -> None:
        self.file = file
        self.text = text
        self.marks: dict[Path, tuple[int, int]] = {}
        self.problems: list[Problem] = []
        self.checked: set[int] = set()
        self.count = 0

    def parse(self) -> Parsed:
        loader: Any = None
        try:
            # The constructor already reads the first characters, and rejects those that YAML forbids.
            loader = yaml.SafeLoader(self.text)
            self.loader = loader
            node = loader.get_single_node()
            values = None if node is None else self.value(node, ())
        except yaml.MarkedYAMLError as error:
            # Not str(error): that quotes the line.
            mark = error.problem_mark or error.context_mark
            where = f"{self.file}:{mark.line + 1}:{mark.column + 1}" if mark else str(self.file)
            begun = f" ({error.context}, begun in line {error.context_mark.line + 1})" if error.context_mark else ""
            raise ConfigError(f"{where}: is not well-formed YAML: {error.problem or error.context}{begun}") from None
        except yaml.reader.ReaderError as error:
            raise ConfigError(f"{self.file}: character {error.position} is one that YAML does not allow") from None
        finally:
            if loader is not None:
                loader.dispose()
        return Parsed(values, self.marks, self.problems)

    def value(self, node: Any, path: Path) -> Any:
        self.count += 1
        if self.count > MAX_VALUES:
            raise ConfigError(f"{self.file}: holds more than {MAX_VALUES:,} values once its aliases are expanded")
        if len(path) > 100:
            raise RecursionError
        if isinstance(node, yaml.MappingNode) and node.tag == _MAP:
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == _SEQ:
            for index, item in enumerate(node.value):
                self.mark((*path, index), item)
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        if kind := _misread(node):
            self.problem(
                node, f"{dotted(path)!r} is read as {kind}; put it in quotes if it is text, else write a plain number"
            )
            return node.value
        try:
            return self.loader.construct_object(node, deep=True)
        except yaml.YAMLError:
            raise
        except Exception:  # noqa: BLE001  (PyYAML lets out whatever its constructors come upon)
            # Such as 2024-13-45, which looks like a date.
            self.problem(
                node, f"{dotted(path)!r} is not a valid {node.tag.rpartition(':')[2]}; put it in quotes if it is text"
            )
            return None

    def mapping(self, node: Any, path: Path) -> dict[str, Any]:
        self.check_keys(node, path)
        # Puts what `<<` brings in before the mapping's own keys, which therefore win.
        self.loader.flatten_mapping(node)
        values = {}
        for key, item in node.value:
            if key.tag.endswith(":str") and isinstance(key, yaml.ScalarNode):
                step = (*path, key.value)
                self.mark(step, key)
                values[key.value] = self.value(item, step)
        return values

    def check_keys(self, node: Any, path: Path) -> None:
        """Check the keys of a node once, before flattening: merged keys would look like duplicates."""
        if id(node) in self.checked:
            return
        self.checked.add(id(node))
        first: dict[str, int] = {}
        inside = f" in {dotted(path)!r}" if path else ""
        for key, _item in node.value:
            if key.tag == _MERGE:
                continue
            if not isinstance(key, yaml.ScalarNode):
                self.problem(key, f"a key{inside} is not text but a {key.id}; keys are plain text")
            elif not key.tag.endswith(":str"):
                kind = key.tag.rpartition(":")[2]
                self.problem(
                    key, f"the key {key.value!r}{inside} is read as {_KINDS.get(kind, kind)}; put it in quotes"
                )
            elif key.value in first:
                self.problem(
                    key,
                    f"the key {key.value!r}{inside} was given in line {first[key.value]} before; remove one of the two",
                )
            else:
                first[key.value] = key.start_mark.line + 1

    def mark(self, path: Path, node: Any) -> None:
        self.marks[path] = (node.start_mark.line + 1, node.start_mark.column + 1)

    def problem(self, node: Any, text: str) -> None:
        mark = node.start_mark
        self.problems.append(Problem((), text, origin=SourceLocation(str(self.file), mark.line + 1, mark.column + 1)))


def _misread(node: Any) -> str:
    """The kind of number that YAML 1.1 makes of digits which were meant as text; empty for a plain number."""
    if node.tag not in (_INT, _FLOAT):
        return ""
    digits = node.value.lstrip("+-").replace("_", "")
    if ":" in digits:
        return "a number to the base of 60"
    return "an octal number" if node.tag == _INT and len(digits) > 1 and digits.isdigit() and digits[0] == "0" else ""


_KINDS = {"int": "a number", "float": "a number", "bool": "true or false", "null": "null", "timestamp": "a date"}
