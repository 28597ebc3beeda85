"""A suite has every test of the kit."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import ClassVar

import pytest

from penstock_kit.broken import must


def missing_tests(suite: type, kit_suite: type) -> Iterator[str]:
    """A sentence for each test of the kit that a suite has deleted, or overridden without a reason.

    Args:
        suite: The author's suite.
        kit_suite: `ConnectorConformance`.
    """
    for name in dir(kit_suite):
        if not name.startswith("test_"):
            continue
        theirs = inspect.getattr_static(suite, name, None)
        if theirs is inspect.getattr_static(kit_suite, name):
            continue
        if theirs is None:
            yield f"{name} was deleted"
        elif not any(_excuses(mark) for mark in _marks(theirs)):
            yield f"{name} was overridden without a mark @pytest.mark.xfail(strict=True, reason='…')"


class Completeness:
    """Checks the suite itself."""

    kit_suite: ClassVar[type]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if Completeness in cls.__bases__:
            # ConnectorConformance, which this module cannot import without a cycle.
            cls.kit_suite = cls

    def test_no_test_was_deleted_or_overridden(self) -> None:
        """Every test of the kit is inherited unchanged, or has a strict xfail with a reason."""
        missing = list(missing_tests(type(self), self.kit_suite))
        must(
            not missing,
            f"a conformance suite has all tests of the kit; of {type(self).__name__}: {'; '.join(missing)}",
            "the class: where a connector cannot keep a promise, override the test, mark it "
            "@pytest.mark.xfail(strict=True, reason='…') and call super(); the reason stands in the capability matrix",
        )


def _marks(test: object) -> list[pytest.Mark]:
    return [mark for mark in getattr(test, "pytestmark", []) if isinstance(mark, pytest.Mark)]


def _excuses(mark: pytest.Mark) -> bool:
    return (
        mark.name == "xfail" and mark.kwargs.get("strict") is True and bool(str(mark.kwargs.get("reason", "")).strip())
    )
