"""`penstock run --drain` ends when no queue has anything left to do, and not before."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from tests.end_to_end.conftest import App

CONFIG = """
queues:
  there: {connector: memory}
  back: {connector: memory}
  done: {connector: memory}
  dead: {profile: memory-dlq}
engine:
  retry: {max_attempts: 3, initial_delay: 0.2, max_delay: 0.2}
"""
THERE = """
from penstock import Engine

app = Engine("there", ["back"], app_name="there", yaml_config_path="queues.yml")

@app.stream_app
def there(message):
    return ("back", {"id": message["id"], "left": message["left"] - 1, "passed": message["passed"] + 1})
"""
BACK = """
from penstock import Engine

app = Engine("back", ["there", "done"], app_name="back", yaml_config_path="queues.yml")

@app.stream_app
async def back(message):
    return [("there" if message["left"] > 0 else "done", message)]
"""


@pytest.fixture
def circle(app: App) -> App:
    """Two apps that send a message to each other until it is used up."""
    app.write("queues.yml", CONFIG)
    app.write("app.py", THERE)
    app.write("back.py", BACK)
    return app


def feed(app: App, lefts: list[int]) -> None:
    lines = [json.dumps({"id": number, "left": left, "passed": 0}) for number, left in enumerate(lefts)]
    app.write("in.jsonl", "\n".join(lines))


def test_a_circle_of_two_engines_ends_when_everything_is_spent(circle: App) -> None:
    """One message that goes round two hundred times is waited for as long as it goes round."""
    feed(circle, [1, 200, 3])

    result = circle.run("back.py", "--drain", "--feed", "there=in.jsonl", "--collect", "done=-")

    assert (result.code, result.err) == (0, "")
    done = [json.loads(line) for line in result.out.splitlines()]
    assert [(each["id"], each["passed"]) for each in done] == [(0, 1), (2, 3), (1, 200)]


def test_thousands_in_a_circle_all_come_out(circle: App) -> None:
    """Both queues are empty, and nothing was processed twice."""
    lefts = [1 + number % 9 for number in range(5_000)]
    feed(circle, lefts)

    result = circle.run("back.py", "--drain", "--feed", "there=in.jsonl", "--collect", "done=done.jsonl")

    assert (result.code, result.out, result.err) == (0, "", "")
    done = Counter((each["id"], each["passed"]) for each in map(json.loads, circle.lines("done.jsonl")))
    assert done == Counter(enumerate(lefts))


def test_what_is_tried_again_later_is_waited_for(circle: App) -> None:
    """A message between two tries, and one held back by a delay, are not done."""
    circle.write(
        "app.py",
        THERE.replace(
            "    return",
            "    if msg_ctx.attempts < 3 and message['id'] == 1:\n        raise LookupError('not yet')\n    return",
        )
        .replace("there(message)", "there(message, msg_ctx: QueueMessage)")
        .replace("import Engine", "import Engine, QueueMessage"),
    )
    feed(circle, [1, 1])

    result = circle.run("back.py", "--drain", "--feed", "there=in.jsonl", "--collect", "done=-")

    assert result.code == 0
    assert [json.loads(line)["id"] for line in result.out.splitlines()] == [0, 1]
    assert "LookupError: not yet; trying again in" in result.err


def test_dead_letters_of_a_drain_are_all_there(circle: App) -> None:
    """Messages whose attempts are used up are collected before the run ends."""
    circle.write(
        "app.py",
        THERE.replace('app_name="there"', 'app_name="there", dead_letter_queue="dead"').replace(
            "    return", "    if message['id'] % 10 == 0:\n        raise LookupError('never')\n    return"
        ),
    )
    feed(circle, [1] * 100)

    result = circle.run(
        "back.py", "--drain", "--feed", "there=in.jsonl", "--collect", "done=done.jsonl", "--collect", "dead=dead.jsonl"
    )

    assert result.code == 0
    assert len(circle.lines("done.jsonl")) == 90
    letters = [json.loads(line) for line in circle.lines("dead.jsonl")]
    assert sorted(json.loads(letter["body"])["id"] for letter in letters) == list(range(0, 100, 10))
    assert {dict(letter["headers"])["penstock-attempts"] for letter in letters} == {"3"}


def test_a_drain_without_a_dead_letter_queue_fails_with_the_message_and_keeps_it(circle: App) -> None:
    """Exit code 1 and the reason, instead of a run that never ends."""
    circle.write("app.py", THERE.replace("    return", "    raise LookupError('never')\n    return"))
    feed(circle, [1])

    result = circle.run("back.py", "--drain", "--feed", "there=in.jsonl")

    assert result.code == 1
    assert result.answer == (
        "engine 'there', queue 'there' (queues.yml:3), memory, message at 1: LookupError: never. It stays in its "
        "queue. Give the engine a dead_letter_queue; it was tried 3 times"
    )
