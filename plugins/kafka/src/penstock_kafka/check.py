"""Judges the options of a queue without a broker: the client itself says what it does not understand.

Made without addresses, a client judges its settings within milliseconds and connects nowhere. It refuses what it does
not know when it is made, by its own name of a key; a key of the other direction it only mentions in its log.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer

from penstock.errors import ConfigError
from penstock.options import OptionProblem, Role
from penstock_kafka.known_keys import BOTH, CONSUMER, PRODUCER
from penstock_kafka.options import NOT_HERE, KafkaOptions, as_client_value, topics, wrong_key

_NAMED = re.compile(r' ?(for )?configuration property "[^"]*" ?', re.IGNORECASE)
_NOT_MADE = "Failed to create"  # how the client begins when each key is right by itself, but not all together


def check(name: str, options: KafkaOptions, role: Role) -> Sequence[str]:
    """What is wrong with a queue's options, before anybody connects.

    Args:
        name: The queue's `value`.
        options: What stands under `config:`.
        role: What the queue is opened for.

    Returns:
        One sentence a problem, by the names that the configuration uses.
    """
    problems = options.problems(role)
    try:
        topics(name, role)
    except ConfigError as error:
        problems += error.problems
    judged = {
        key: as_client_value(value)
        for key, value in options.passed_through(role).items()
        if not callable(value) and wrong_key(key, value, role) is None
    }
    refusal = None
    if not problems:
        refusal, log = _try_all(options, role)
        if refusal is None and not any(_ignored(line) for line in log):
            return []
    for key, value in judged.items():
        texts = _judge(key, value, role, options.is_secret_key(key))
        problems += [OptionProblem(text, *options.written_as(key, role)) for text in texts]
    if not problems and refusal is not None:
        problems.append(f"the client refuses these options together: {refusal.rpartition(f'{_NOT_MADE} ')[2]}")
    return problems


def _try_all(options: KafkaOptions, role: Role) -> tuple[str | None, list[str]]:
    settings = {key: value for key, value in options.client_settings(role).items() if not callable(value)}
    del settings["bootstrap.servers"]
    return _try(settings, role)


def _judge(key: str, value: Any, role: Role, secret: bool) -> list[str]:
    """What the client says to one key alone."""
    refusal, log = _try({key: value} | ({"group.id": "check"} if role == "input" else {}), role)
    if refusal is None or refusal.startswith(_NOT_MADE):
        return [_wrong_direction(key, role)] if any(_ignored(line) for line in log) else []
    if refusal.startswith("No such configuration property"):
        return [f"{key!r} is no key of this connector, nor of librdkafka; {_instead(key, role)}"]
    # The client may call the key by another name of its own; the user knows only this one.
    return [f"{key!r}: {'its value is refused' if secret else _NAMED.sub(' ', refusal).strip()}"]


def _wrong_direction(key: str, role: Role) -> str:
    other, this = ("producer", "an input") if role == "input" else ("consumer", "an output")
    return (
        f"{key!r} is a {other}'s key, and the queue is {this}: remove it, or write it under '{other}:' "
        f"if another program uses the queue the other way"
    )


def _instead(key: str, role: Role) -> str:
    ours = {field.alias or name for name, field in KafkaOptions.model_fields.items()}
    names = ours | set(NOT_HERE) | BOTH | (CONSUMER if role == "input" else PRODUCER)
    found = get_close_matches(key, sorted(names), n=1, cutoff=0.7) or get_close_matches(
        key, sorted(CONSUMER | PRODUCER), n=1, cutoff=0.7
    )
    return f"did you mean {found[0]!r}?" if found else "remove it"


def _ignored(line: str) -> bool:
    return "property and will be ignored" in line


def _try(settings: Mapping[str, Any], role: Role) -> tuple[str | None, list[str]]:
    """Make a client and throw it away: why it refused, or None, and what it logged."""
    logger = logging.Logger("check")  # of nobody else: not one of `logging.getLogger`
    listener = _Listener()
    logger.addHandler(listener)
    try:
        if role == "input":
            consumer = Consumer({**settings, "logger": logger})
            consumer.poll(0)
            consumer.close()
        else:
            producer = Producer({**settings, "logger": logger})
            producer.poll(0)
    except KafkaException as error:
        return str(error.args[0].str()).strip(), listener.lines
    return None, listener.lines


class _Listener(logging.Handler):
    """Collects what a client logs."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
