"""Words that this project has given up do not come back: a newcomer would need a dictionary for them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sources import ROOT

WORDS = {
    "saboteur": "mutant",
    "stand-in, stand in for": "fake, replace",
    "rehearsal, rehearse": "engine under test; for a transaction that is rolled back: dry run",
    "trespass, trespasses": "private use, private import",
    "zoo": "sample plugins",
    "NotQuiet, quiet_since": "NotIdle, idle_since",
    "convict, convicted": "declare poison, poison",
    "killer": "poison message",
    "bury, buries, buried, burying, unburied": "dead-letter, dead-lettered; rejected",
}
"""Words → what to write instead. Found anywhere in code, tests, templates and manual, in upper and lower case, alone or
with an "s"."""

NAMES = {
    "Lanes, ThreadLanes, TaskLanes": "Executor, ThreadExecutor, TaskExecutor",
    "relieve, OVERDUE": "hand_off, HAND_OFF_AFTER",
    "Fate, GivenBack, Unsendable": "Outcome, RequeueRequested, InvalidOutput",
    "NOBODY, ENDING": "BATCH_INPUT, EXIT_EXCEPTIONS; for a user id: UNPRIVILEGED",
    "Conductor, Rehearsal, Cellar, Reality": "TestRunner, EngineUnderTest, QueueStore, ProductionQueue",
    "Performance, Story, Pace": "EngineRun, MessageHistory, TimeMode",
    "StandInConsumer, StandInProducer": "FakeConsumer, FakeProducer",
    "UnresolvedQueue, choose_backend, choose_stages": "Resolution, choose_connector_class, choose_codec",
    "Verdict": "Resolution",
    "rivalry, undeclared_output": "conflict, unknown_queue",
    "_Foreign, metric_list": "LegacyConnector, metric_definitions",
    "QueueShape, hurry, settle_apart": "QueueTable, limit_timeout, delete_by_bisection",
    "Alarm": "WakeUp",
    "Stalls, Damage, NOT_HERE, _at_hand": "StallDetector, CorruptionTracker, UNSUPPORTED_KEYS, next_messages",
    "GRACE, PATIENCE": "a timeout by the name that the configuration gives it",
}
"""The same for names that are ordinary words elsewhere. Found only in Python, and exactly as they are written here."""

PHRASES = {
    r"(?<!there )\b(is|are|was|were) no (?!longer\b|more\b)": "is not a, are not",
    r"\b(nobody|whoever)\b": "the actor: no other process, the caller, a reader",
    r"\b(give|gives|gave|given|giving)[ _-]back\b": "requeue",
    r"\b(im)?patience\b": "timeout",
}
"""Patterns → what to write instead. Found in code, manual and templates, not in tests; case does not matter."""

FOLDERS = ("core", "kit", "plugins", "tests", "docs", "examples", "benchmarks")
SUFFIXES = (".py", ".md", ".tmpl", ".toml", ".sql", ".lua")
ALLOWED = {"tests/test_words.py"}
"""Files that may use these words."""

Rules = dict[str, tuple[re.Pattern[str], str]]
"""Text that must be there for the pattern to match → pattern and replacement."""


def rules(table: dict[str, str], ending: str, flags: int) -> Rules:
    """The rules of a table."""
    return {
        word: (re.compile(rf"(?<!\w){re.escape(word)}{ending}(?!\w)", flags), instead)
        for words, instead in table.items()
        for word in words.split(", ")
    }


WORD_RULES, NAME_RULES = rules(WORDS, "s?", re.IGNORECASE), rules(NAMES, "", 0)


def files() -> Iterator[Path]:
    """Every text of the repository that people read."""
    yield from ROOT.glob("*.md")
    yield from ROOT.glob("*.py")
    for folder in FOLDERS:
        yield from (path for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES and path.is_file())


PHRASE_RULES = [(re.compile(phrase, re.IGNORECASE), instead) for phrase, instead in PHRASES.items()]


def problems(text: str, python: bool = True, prose: bool = True) -> Iterator[str]:
    """A sentence for each word that must not come back.

    Args:
        text: What to read.
        python: Whether it is Python, so that names count.
        prose: Whether phrases count.
    """
    lowered = text.lower()
    found = [rule for word, rule in WORD_RULES.items() if word.lower() in lowered]
    if python:
        found += [rule for word, rule in NAME_RULES.items() if word in text]
    if prose:
        found += PHRASE_RULES
    for pattern, instead in found:
        for match in pattern.finditer(text):
            yield f"{text.count(chr(10), 0, match.start()) + 1}: {match[0]!r}; write: {instead}"


def test_no_word_comes_back() -> None:
    """Write the word that stands beside it in the table."""
    found = [
        f"{path.relative_to(ROOT)}:{problem}"
        for path in files()
        if str(path.relative_to(ROOT)) not in ALLOWED
        for problem in problems(
            path.read_text(encoding="utf-8"), path.suffix == ".py", not {"tests", "kafka"} & {*path.parts}
        )
    ]

    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text", ["a saboteur", "Saboteurs", "class StandInConsumer:", "x = Cellar()", "it is no queue", "Nobody sees it"]
)
def test_a_word_is_found(text: str) -> None:
    """In prose and in code, singular and plural."""
    (problem,) = problems(text)

    assert problem.startswith("1: ")


@pytest.mark.parametrize(
    "text", ["a wine cellar", "SaboteursOf", "in reality", "there is no queue", "it is no longer there"]
)
def test_an_ordinary_word_is_not_found(text: str) -> None:
    """Names count only as they were written."""
    assert list(problems(text)) == []
