"""Wrong configurations, functions and bytes: the exact error, no message lost, and no run that hangs."""

from __future__ import annotations

import base64
import hashlib
import json
import time

import pytest
from tests.end_to_end.conftest import App, Result

APP = """
from pydantic import BaseModel

from penstock import Engine


class Order(BaseModel):
    amount: int


app = Engine("orders", ["invoices"], app_name="till", yaml_config_path="queues.yml"DLQ)


@app.stream_app
def bill(order: Order):
    return [("invoices", {"amount": order.amount})]
"""
CONFIG = """
queues:
  orders: {profile: memory}
  invoices: {profile: memory}
  rejects: {profile: memory-dlq}
"""
SECRET = "hunter-7731"  # stands in passwords and bodies, and must never be printed
SECONDS = 15.0  # that a run may take, start-up of a busy machine included


@pytest.fixture
def till(app: App) -> App:
    """An app that bills orders, with its configuration."""
    app.write("app.py", APP.replace("DLQ", ""))
    app.write("queues.yml", CONFIG)
    return app


def with_dead_letters(app: App) -> None:
    app.write("app.py", APP.replace("DLQ", ', dead_letter_queue="rejects"'))


def run(app: App, lines: bytes = b"", *arguments: str, env: dict[str, str] | None = None) -> Result:
    app.write("in.jsonl", lines)
    began = time.monotonic()
    result = app.run("--drain", "--feed", "orders=in.jsonl", "--collect", "invoices=out.jsonl", *arguments, env=env)
    assert time.monotonic() - began < SECONDS
    assert SECRET not in result.out + result.err
    return result


# -- configuration


WRONG_CONFIGURATIONS = {
    "an unknown connector": (
        CONFIG.replace("orders: {profile: memory}", "orders: {connector: memroy}"),
        "queue 'orders' (queues.yml:3:12): connector 'memroy': nothing that is installed offers one of this name; did "
        "you mean 'memory'?",
    ),
    "an unknown key": (
        CONFIG.replace("orders: {profile: memory}", "orders: {profile: memory, model_hander: none}"),
        "queue 'orders' (queues.yml:3:29): 'model_hander' is not a key of a queue; did you mean 'model_handler'?",
    ),
    "an unknown option": (
        CONFIG.replace("orders: {profile: memory}", "orders: {profile: memory, config: {namspace: x}}"),
        "queue 'orders' (queues.yml:3:38): 'config.namspace' is not a key of connector 'memory'; did you mean "
        "'namespace'?",
    ),
    "a missing variable": (
        CONFIG.replace("orders: {profile: memory}", "orders: {profile: memory, value: '${NO_SUCH_NAME}'}"),
        "queue 'orders' (queues.yml:3:29): 'value' needs the environment variable NO_SUCH_NAME, which is not set; set "
        "it, or write a default: ${NO_SUCH_NAME:-default}",
    ),
    "a missing queue": (
        CONFIG.replace("  orders: {profile: memory}\n", ""),
        "queue 'orders' is not in queues.yml, which has 'invoices', 'rejects'",
    ),
    "no YAML": (
        f"queues:\n  orders: {{password: {SECRET}\n  invoices: [",
        "queues.yml:3:",
    ),
    "a secret of the wrong type": (
        CONFIG.replace("orders: {profile: memory}", f"orders: {{profile: memory, config: {{vt: {SECRET}}}}}"),
        "queue 'orders' (queues.yml:3:38): 'config.vt' must be a number, not this text",
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_CONFIGURATIONS)
def test_a_wrong_configuration_is_named_with_its_place(till: App, wrong: str) -> None:
    """The error has file, line and column, what is wrong and what to do. The exit code is 2, and nothing has run."""
    config, answer = WRONG_CONFIGURATIONS[wrong]
    till.write("queues.yml", config)

    result = run(till, b'{"amount": 1}\n')

    assert result.code == 2
    if wrong == "no YAML":
        assert result.err.startswith(f"penstock: {answer}")
        assert "is not well-formed YAML" in result.err
    else:
        assert result.err == f"penstock: {answer}\n"


def test_secrets_are_never_printed(till: App) -> None:
    """Neither a variable's nor a default's value is printed, with -v or without, also when the run fails."""
    queue = "orders: {profile: memory, value: '${QUEUE}', config: {pasword: '${PASSWORD}'}}"
    till.write("queues.yml", CONFIG.replace("orders: {profile: memory}", queue))

    result = run(till, b"", "-v", env={"PASSWORD": SECRET, "QUEUE": "o"})

    assert result.code == 2
    assert "'config.pasword' is not a key of connector 'memory'" in result.err


# -- the function


def test_a_function_of_the_wrong_arity_is_refused_at_its_decorator(till: App) -> None:
    """The error comes before anything runs, and says what the function must take."""
    till.write("app.py", APP.replace("DLQ", "").replace("def bill(order: Order)", "def bill(order: Order, customer)"))

    result = run(till)

    assert result.code == 2
    assert result.err == (
        "penstock: bill(order: app.Order, customer) cannot be a stream_app: it must take one message as its only "
        "required positional parameter, and may take msg_ctx beside it\n"
    )


def test_an_output_to_an_undeclared_queue_is_named(till: App) -> None:
    """The error lists the queues that exist, and the message stays in its queue."""
    till.write("app.py", APP.replace("DLQ", "").replace('("invoices", {', '("invoice", {'))

    result = run(till, b'{"amount": 1}\n')

    assert result.answer == (
        "engine 'till', queue 'orders' (queues.yml:3), memory, message at 1: bill: the function returned an output for "
        "'invoice', which is not an output queue of this engine (it has: 'invoices'); add it to output_queues. It "
        "stays in its queue. Give the engine a dead_letter_queue; it was tried 3 times"
    )


# -- bodies


NESTED = b"[" * 100_000 + b"]" * 100_000
BODIES = {
    "no JSON": (b'{"amount": 1 ' + SECRET.encode(), "decode", "the body is not valid json: "),
    "another shape": (b'{"amount": "%s"}' % SECRET.encode(), "validate",
                      "the message does not fit Order: amount: Input should be a valid integer"),
    "a missing field": (b'{"sum": "%s"}' % SECRET.encode(), "validate",
                        "the message does not fit Order: amount: Field required"),
    "no UTF-8": (b'{"amount": "\xff\xfe"}', "decode", "the body is not valid json: "),
    "deep nesting": (NESTED, "decode", "the body is not valid json: "),
}  # fmt: skip


@pytest.mark.parametrize("bad", BODIES)
def test_a_bad_body_with_a_dead_letter_queue_is_kept_byte_for_byte(till: App, bad: str) -> None:
    """The other messages are billed, the dead letter says where it failed, and the exit code is 0."""
    body, stage, _ = BODIES[bad]
    with_dead_letters(till)

    result = run(till, b'{"amount": 1}\n%s\n{"amount": 2}\n' % body, "--collect", "rejects=dead.jsonl")

    assert (result.code, result.out) == (0, "")
    assert till.lines("out.jsonl") == [b'{"amount":1}', b'{"amount":2}']
    [letter] = [json.loads(line) for line in till.lines("dead.jsonl")]
    kept = base64.b64decode(letter["body_base64"]) if "body_base64" in letter else letter["body"].encode()
    assert kept == body
    headers = dict(letter["headers"])
    assert (headers["penstock-error-stage"], headers["penstock-origin-position"]) == (stage, "2")
    assert SECRET not in headers["penstock-error-text"]


@pytest.mark.parametrize("bad", BODIES)
def test_a_bad_body_without_a_dead_letter_queue_stops_the_run_and_is_kept(till: App, bad: str) -> None:
    """The exit code is 1, and the error says what is wrong, where, and what to do. No message is skipped in silence."""
    body, _, text = BODIES[bad]

    result = run(till, b'{"amount": 1}\n%s\n' % body)

    assert result.code == 1
    assert result.answer.startswith(f"engine 'till', queue 'orders' (queues.yml:3), memory, message at 2: {text}")
    assert result.answer.endswith(
        ". It stays in its queue. Give the engine a dead_letter_queue; or set on_invalid: skip to pass over such "
        "messages"
    )
    assert till.lines("out.jsonl") in ([b'{"amount":1}'], [])


def test_on_invalid_skip_passes_over_and_says_so(till: App) -> None:
    """The configuration says so. The log has a line for it, and the other messages are billed."""
    till.write("queues.yml", CONFIG + "engine: {on_invalid: skip}\n")

    result = run(till, b'{"amount": 1}\nbad %s\n{"amount": 2}\n' % SECRET.encode())

    assert result.code == 0
    assert till.lines("out.jsonl") == [b'{"amount":1}', b'{"amount":2}']
    assert "1 message failed at decode" in result.err
    assert "skipped, as on_invalid says" in result.err


# What a file of lines cannot say, said by an app that puts it into the queue itself.
HOSTILE = """
import asyncio, hashlib
from penstock import Engine, Record
from penstock.config.files import load
from penstock.config.resolve import registry_for, resolve_queue
from penstock.queues.queue import OutputQueue

configuration = load("queues.yml")
BODIES = [b"", None, b'"' + b"x" * 20_000_000 + b'"', b"\\x00", b" ", b'"last"']

async def put():
    queue = resolve_queue(configuration, "orders", "output", registry=registry_for(configuration))
    async with OutputQueue(queue) as target:
        assert await target.produce([Record(body, b"key", [("h", b"v")]) for body in BODIES]) == ()

asyncio.run(put())
app = Engine("orders", ["invoices"], dead_letter_queue="rejects", yaml_config_path="queues.yml")

@app.stream_app
def measure(text: str):
    return [("invoices", {"length": len(text), "sha": hashlib.sha256(text.encode()).hexdigest()})]
"""


def test_empty_bodies_tombstones_and_a_body_of_20_mb(till: App) -> None:
    """What is not a message is dead-lettered as it is, what is a large one works, and all of it within seconds."""
    till.write("app.py", HOSTILE)
    began = time.monotonic()

    result = till.run("--drain", "--collect", "invoices=out.jsonl", "--collect", "rejects=dead.jsonl")

    assert time.monotonic() - began < SECONDS
    assert result.code == 0
    assert [json.loads(line) for line in till.lines("out.jsonl")] == [
        {"length": 20_000_000, "sha": hashlib.sha256(b"x" * 20_000_000).hexdigest()},
        {"length": 4, "sha": hashlib.sha256(b"last").hexdigest()},
    ]
    letters = [json.loads(line) for line in till.lines("dead.jsonl")]
    assert [letter["body"] for letter in letters] == ["", None, "\x00", " "]
    assert {letter["key"] for letter in letters} == {"key"}
    assert {tuple(letter["headers"][0]) for letter in letters} == {("h", "v")}
    assert {dict(letter["headers"])["penstock-error-stage"] for letter in letters} == {"decode"}
