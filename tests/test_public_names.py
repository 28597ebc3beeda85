"""The names that users import from `penstock`: all there, all documented, and the same for type checkers."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest

import penstock
from tests.sources import imports

SOURCE = Path(penstock.__file__).read_text()
VERSION = Path(penstock.__file__).with_name("version.py")
NAMES = [name for name in penstock.__all__ if name != "__version__"]

# What the manual promises; a name more or less is a change that users see.
PROMISED = """
    BlockingConsumer BlockingProducer BlockingQueues Consumer Engine GenericMessage ModelHandler Output PenstockError
    Producer QueueConfig QueueMessage Queues Record Retry RetryPolicy Serializer TypedOutput Worker WorkerSettings
"""


def homes() -> dict[str, str]:
    """Where each name lives, as the running module has it."""
    found: dict[str, str] = penstock._HOMES
    return found


def test_the_list_of_names_is_complete_and_in_order() -> None:
    """`__all__` is what was promised, alphabetically, the version last."""
    assert sorted(PROMISED.split()) == NAMES
    assert penstock.__all__ == [*NAMES, "__version__"]


def test_type_checkers_see_the_same_names_from_the_same_homes() -> None:
    """The names are loaded lazily, so they are written down twice: once to run, once to be checked."""
    for_checkers = {each.name: each.module for each in imports(SOURCE) if each.typing}

    assert for_checkers == homes()
    assert list(homes()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_what_its_home_has(name: str) -> None:
    """Loaded on first use, kept afterwards, documented, and told in tracebacks by the home where it is defined."""
    value = getattr(penstock, name)

    assert value is getattr(importlib.import_module(homes()[name]), name)
    assert vars(penstock)[name] is value
    assert value.__module__ == homes()[name]
    assert vars(value)["__doc__"]


def test_dir_lists_the_names_before_they_are_loaded() -> None:
    """So that completion in a shell offers them."""
    assert dir(penstock) == sorted(penstock.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match=r"^module 'penstock' has no attribute 'Enigne'$"):
        penstock.Enigne  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError, match="Enigne"):
        from penstock import Enigne  # type: ignore[attr-defined]  # noqa: F401


@pytest.mark.parametrize("name", NAMES)
def test_each_public_method_is_documented(name: str) -> None:
    """What a user can call says what it does."""
    value = getattr(penstock, name)
    missing = [
        attribute
        for attribute, found in vars(value).items()
        if not attribute.startswith("_")
        and attribute not in getattr(value, "model_fields", ())
        and (inspect.isroutine(found) or isinstance(found, property))
        and not inspect.getdoc(found)
    ]

    assert missing == []


def test_the_version_is_a_constant() -> None:
    """It is read by tools that import nothing."""
    told = [ast.unparse(node.value) for node in ast.parse(VERSION.read_text()).body if isinstance(node, ast.Assign)
            and ast.unparse(node.targets[0]) == "__version__"]  # fmt: skip

    assert told == [repr(penstock.__version__)]
