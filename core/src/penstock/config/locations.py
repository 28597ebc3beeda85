"""Where each value of a configuration was written, for errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Path = tuple[str | int, ...]
"""The way to a value from the top of a configuration: ("queues", "orders", "config", "port")."""


@dataclass(frozen=True, slots=True)
class SourceLocation:
    """One spot in a configuration.

    Attributes:
        file: The file as the user named it; empty for a configuration made in Python.
        line, column: From 1; 0 where the format tells none (TOML).
        key: The path as the file spells it, for formats without lines.
    """

    file: str = ""
    line: int = 0
    column: int = 0
    key: str = ""

    def __str__(self) -> str:
        if not self.file:
            return ""
        if self.line:
            return f"{self.file}:{self.line}"
        return f"{self.file}, {self.key}" if self.key else self.file

    @property
    def order(self) -> tuple[int, int]:
        """Sorts locations of one file from top to bottom; those without lines are all equal."""
        return (self.line, self.column)

    @property
    def exact(self) -> str:
        """File, line and column, to find the spot in an editor."""
        return f"{self}:{self.column}" if self.line else str(self)


@dataclass(frozen=True, slots=True)
class Locations:
    """The location of every value of one source.

    Attributes:
        file: As in `SourceLocation`.
        marks: Line and column of each key, by the path as the source spells it.
        roots: How the source spells the first steps of a path: a queue may stand in a list or in a mapping, at the top
            or under `queues`.
    """

    file: str = ""
    marks: Mapping[Path, tuple[int, int]] = field(default_factory=dict)
    roots: Mapping[Path, Path] = field(default_factory=dict)

    def of(self, path: Path) -> SourceLocation:
        """The location of a value; of the nearest thing around it, if it was not written at all."""
        if not self.file:
            return SourceLocation()
        spelled = self._spelled(path)
        for length in range(len(spelled), 0, -1):
            if mark := self.marks.get(spelled[:length]):
                return SourceLocation(self.file, *mark)
        return SourceLocation(self.file, key=dotted(spelled))

    def _spelled(self, path: Path) -> Path:
        for length in (2, 1):
            root = self.roots.get(path[:length])
            if root is not None:
                return root + path[length:]
        return path


def dotted(path: Path) -> str:
    """A path as people write it: `queues[0].config.port`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text
