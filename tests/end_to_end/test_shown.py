"""What a message holds reaches neither the terminal's controls nor the shape of the log, whichever part quotes it."""

from __future__ import annotations

import json

import pytest
from tests.end_to_end.conftest import App

CONFIG = """
queues:
  in: {connector: memory}
  dead: {profile: memory-dlq}
engine: {retry: {max_attempts: 1}}
"""
APP = """
from penstock import Engine

app = Engine("in", app_name="quoter", dead_letter_queue="dead", yaml_config_path="queues.yml")

@app.stream_app
def quoter(text):
    RAISE
"""
EVIL = "\x1b[31mred\x1b]0;title\x07\r\n2026-01-01 00:00:00 CRITICAL penstock: forged\u202e\x9b1m "
WAYS = {
    "raised": "raise ValueError(text)",
    "as a cause": "raise ValueError('bad') from KeyError(text)",
    "as a context": "try: raise OSError(text)\n    except OSError: raise ValueError('bad')",
    "as a note": "error = ValueError('bad'); error.add_note(text); raise error",
    "in a group": "raise ExceptionGroup(text, [ValueError(text), TypeError(text)])",
    "large": "raise ValueError(text * 500_000)",
    "recursion": "def f(): f()\n    f()",
}


@pytest.mark.parametrize("way", WAYS)
def test_an_exception_that_quotes_a_message(app: App, way: str) -> None:
    """The traceback is there, with the way into the function, and escaped and cut as the line above it."""
    app.write("queues.yml", CONFIG)
    app.write("app.py", APP.replace("RAISE", WAYS[way]))
    app.write("in.jsonl", json.dumps(EVIL) + "\n")

    result = app.run("--drain", "--feed", "in=in.jsonl")

    assert result.code == 0, result.err[-2000:]
    assert 'app.py", line ' in result.err
    assert ", in quoter" in result.err
    assert not [character for character in result.err if not character.isprintable() and character != "\n"]
    assert not [line for line in result.err.splitlines() if line.startswith("2026-01-01")]
    assert len(result.err) < 50_000


def test_a_configuration_with_escapes(app: App) -> None:
    """Nor does what a file holds, where an error or a listing shows it."""
    app.write("app.py", APP.replace("RAISE", "pass").replace('"in"', '"i\\x1b[31mn"'))
    app.write("queues.yml", 'queues: {"a\\e[31mb": {connector: "me\\e[31m", "k\\e]0;x\\ay": 1}}\n')

    result = app.run("--drain")

    assert result.code == 2
    assert "\x1b" not in result.err
