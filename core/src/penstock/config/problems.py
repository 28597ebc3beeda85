"""The problems of a configuration as values. They become sentences only where they are printed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from penstock.config.locations import Locations, Path, SourceLocation
from penstock.options import Role


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a configuration; `str()` of it is the whole sentence.

    Attributes:
        path: The way to the value.
        text: What is wrong and what to do; it names the key.
        subject: Whose setting it is ("queue 'orders'", "engine"); empty for the configuration as a whole.
        origin: Where the value came from: its location, or the profile or the environment variable that gave it.
        role: The role for which the queue was validated, if it was; two problems that differ in it only are equal.
    """

    path: Path
    text: str
    subject: str = ""
    origin: SourceLocation | str = ""
    role: Role | None = field(default=None, compare=False)

    def __str__(self) -> str:
        origin = self.origin.exact if isinstance(self.origin, SourceLocation) else self.origin
        if self.subject:
            return f"{self.subject} ({origin}): {self.text}" if origin else f"{self.subject}: {self.text}"
        return f"{origin}: {self.text}" if origin else self.text


def located(problems: Iterable[Problem], subject: str, locations: Locations) -> list[Problem]:
    """Copies of the problems that have their subject and location, in the order of the file."""
    in_order = sorted(problems, key=lambda problem: locations.of(problem.path).order)
    return [replace(problem, subject=subject, origin=locations.of(problem.path)) for problem in in_order]
