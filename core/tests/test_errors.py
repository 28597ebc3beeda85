"""The error tree: who must act, and what an error holds."""

from __future__ import annotations

import ast
import math
import pickle
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from tests.sources import CORE, modules

from penstock import errors
from penstock.errors import (
    CapabilityError,
    ConfigError,
    ConnectorError,
    NotConnected,
    PenstockError,
    ProduceError,
    Retry,
)

ERRORS = {name for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, Exception)}


def tree_as_drawn() -> dict[str, str]:
    """Class → parent, as the drawing on top of the module has them."""
    parents: dict[str, str] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ([│ ]*)(?:[├└]── )?([A-Z]\w+)(?:\s|$)", line)
        if found and (above or found[2] == "PenstockError"):
            depth = (len(line) - len(line.lstrip(" │├└─")) - 4) // 4
            del above[depth:]
            if above:
                parents[found[2]] = above[-1]
            above.append(found[2])
    return parents


def test_the_tree_is_as_it_is_drawn() -> None:
    """The drawing on top of the module is what the classes say, with no class left out."""
    real = {
        name: value.__bases__[0].__name__
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, PenstockError) and value is not PenstockError
    }

    assert tree_as_drawn() == real
    assert len(real) == 17


def test_a_retry_is_no_error_of_penstocks() -> None:
    """`except PenstockError` in a user's function does not swallow the wish to be called again."""
    assert not issubclass(Retry, PenstockError)


def test_a_config_error_shows_each_problem_on_a_line_of_its_own() -> None:
    """All problems that were found are told at once, and can be read one by one."""
    error = ConfigError("queue 'a': first", "queue 'b': second")

    assert error.problems == ("queue 'a': first", "queue 'b': second")
    assert str(error) == "queue 'a': first\nqueue 'b': second"


def test_a_capability_error_is_caught_as_a_config_error() -> None:
    """To ask for what a connector cannot do is a fault of the configuration."""
    with pytest.raises(ConfigError) as caught:
        raise CapabilityError("queue 'a': no delay")

    assert caught.value.problems == ("queue 'a': no delay",)


def test_a_lost_connection_may_say_how_long_to_wait() -> None:
    """None leaves the wait to the queue's backoff."""
    assert NotConnected("away").retry_after is None
    assert NotConnected("away", retry_after=2.5).retry_after == 2.5
    assert str(NotConnected("away", retry_after=2.5)) == "away"


def test_a_refused_record_is_sent_again_unless_the_connector_says_never() -> None:
    """The safe reading of a refusal is that it may pass."""
    assert ProduceError("queue full").retriable
    assert not ProduceError("too large", retriable=False).retriable
    assert isinstance(ProduceError("too large"), ConnectorError)


@pytest.mark.parametrize(
    ("retry", "text"),
    [
        (Retry(), "later"),
        (Retry(2), "in 2 s"),
        (Retry(0), "in 0 s"),
        (Retry(2, "rate limit"), "rate limit"),
        (Retry(reason="rate limit"), "rate limit"),
    ],
)
def test_a_retry_reads_as_its_reason_or_its_delay(retry: Retry, text: str) -> None:
    """Its text stands in the log and in the dead letter."""
    assert str(retry) == text


def test_a_retry_cannot_lie_in_the_past() -> None:
    """A negative delay is refused where it is written."""
    with pytest.raises(ValueError, match=r"^Retry\(delay=-1\): the delay is in seconds and cannot be negative$"):
        Retry(-1)


@pytest.mark.parametrize(
    "delay",
    [
        timedelta(seconds=5),
        Decimal(5),
        Decimal("NaN"),
        math.nan,
        math.inf,
        -math.inf,
        1e300,
        10**400,
        True,
        False,
        "5",
        "",
        b"5",
        [5],
        5j,
    ],
    ids=repr,
)
def test_a_retry_takes_a_number_of_seconds_and_nothing_else(delay: Any) -> None:
    """Anything else would stop the worker later, or hide the message for ever."""
    with pytest.raises(ValueError, match=r"^Retry\(delay=.*\): the delay is (not a number of seconds|in seconds)"):
        Retry(delay)


def test_retry_survives_a_process_pool() -> None:
    """A function that works in a process pool may raise it there."""
    again = pickle.loads(pickle.dumps(Retry(2.5, "busy")))

    assert (again.delay, again.reason, str(again)) == (2.5, "busy", "busy")


def test_every_error_class_stands_in_one_module() -> None:
    """So that a user finds them all, and no module imports another one for an error only."""
    found = {
        f"{name}: {node.name}"
        for name, path in modules(CORE).items()
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base) in ERRORS for base in node.bases)
    }

    assert {each for each in found if not each.startswith("penstock.errors: ")} == set()
    assert "penstock.errors: NotIdle" in found
