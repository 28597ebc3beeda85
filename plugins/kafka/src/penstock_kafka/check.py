"""Checks the options of a queue without a broker, by making a client.

A client without addresses checks its settings within milliseconds and connects nowhere. It rejects an unknown key, by
its own name for it; a key of the other role it only mentions in its log.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, ShareConsumer

from penstock.errors import ConfigError
from penstock.options import OptionProblem, Role
from penstock_kafka.known_keys import BOTH, CONSUMER, PRODUCER
from penstock_kafka.options import (
    CALLBACKS,
    MANAGED_KEYS,
    UNSUPPORTED_KEYS,
    ClientOptions,
    KafkaOptions,
    as_client_value,
    topics,
)
from penstock_kafka.share_options import NOT_SHARED, ShareOptions

Make = type[Consumer] | type[Producer] | type[ShareConsumer]

_NAMED = re.compile(r' ?(for )?configuration property "[^"]*" ?', re.IGNORECASE)
_NOT_MADE = "Failed to create"  # each key is valid alone, but not all together


def check(name: str, options: ClientOptions, role: Role) -> Sequence[str]:
    """Check a queue's options without connecting.

    Args:
        name: The queue's `value`.
        options: What stands under `config:`.
        role: What the queue is opened for.

    Returns:
        One sentence for each problem, with the names of the configuration.
    """
    problems = options.problems(role)
    try:
        topics(name, role)
    except ConfigError as error:
        problems += error.problems
    make: Make = Producer if role == "output" else ShareConsumer if isinstance(options, ShareOptions) else Consumer
    if make is ShareConsumer and any(each.startswith("^") for each in name.split(",")):
        problems.append(f"'value' is {name!r}, but a share group has no patterns; write the topics' names")
    rejection = None
    if not problems:
        rejection, log = _try_all(options, role, make)
        if rejection is None and not any(_ignored(line) for line in log):
            return []
    rejected = {problem.keys for problem in problems if isinstance(problem, OptionProblem)}
    for key, value in options.passed_through(role).items():
        written = options.written_as(key, role)
        if not callable(value) and written not in rejected:
            text, other_role = _try_alone(key, as_client_value(value), role, make, options)
            problems += [OptionProblem(text, *written, other_role=other_role)] if text else []
    if not problems and rejection is not None:
        problems.append(f"the client rejects these options together: {rejection.rpartition(f'{_NOT_MADE} ')[2]}")
    return problems


def _try_all(options: ClientOptions, role: Role, make: Make) -> tuple[str | None, list[str]]:
    settings = {key: value for key, value in options.merged_settings(role).items() if not callable(value)}
    del settings["bootstrap.servers"]
    return _try(settings, make)


def _try_alone(key: str, value: Any, role: Role, make: Make, options: ClientOptions) -> tuple[str, bool]:
    """Ask the client about one key alone; returns what is wrong with it, and whether it is one of the other role."""
    rejection, log = _try({key: value} | ({"group.id": "check"} if role == "input" else {}), make)
    if rejection is None or rejection.startswith(_NOT_MADE):
        return (_wrong_direction(key, role), True) if any(_ignored(line) for line in log) else ("", False)
    if rejection.startswith("No such configuration property"):
        return (
            f"{key!r} is neither a key of this connector nor of librdkafka; {_instead(key, role, type(options))}",
            False,
        )
    # The client may have another name for the key, which the user does not know.
    return (
        f"{key!r}: {'its value is rejected' if options.is_secret_key(key) else _NAMED.sub(' ', rejection).strip()}",
        False,
    )


def _wrong_direction(key: str, role: Role) -> str:
    other, this = ("producer", "an input") if role == "input" else ("consumer", "an output")
    return (
        f"{key!r} is a {other}'s key, and the queue is {this}: remove it, or write it under '{other}:' "
        f"if another program uses the queue the other way"
    )


def _instead(key: str, role: Role, kind: type[ClientOptions] = KafkaOptions) -> str:
    """What to write in place of an unknown key: only what is accepted there."""
    own = {field.alias or name for name, field in kind.model_fields.items()}
    refused = {*UNSUPPORTED_KEYS, *MANAGED_KEYS, *CALLBACKS}
    refused |= set(NOT_SHARED) if issubclass(kind, ShareOptions) and role == "input" else set()
    mine, other, block = (CONSUMER, PRODUCER, "producer") if role == "input" else (PRODUCER, CONSUMER, "consumer")
    if found := get_close_matches(key, sorted(own | BOTH - refused | mine - refused), n=1, cutoff=0.7):
        return f"did you mean {found[0]!r}?"
    if found := get_close_matches(key, sorted(other - refused), n=1, cutoff=0.7):
        return f"did you mean {found[0]!r}, under '{block}:'?"
    return "remove it"


def _ignored(line: str) -> bool:
    return "property and will be ignored" in line


def _try(settings: Mapping[str, Any], make: Make) -> tuple[str | None, list[str]]:
    """Make a client and discard it; returns why it rejected the settings, or None, and what it logged."""
    logger = logging.Logger("check")  # not from `logging.getLogger`, so that it is used only here
    collector = _Collector()
    logger.addHandler(collector)
    try:
        client = make({**settings, "logger": logger})
        if not isinstance(client, ShareConsumer):  # which cannot be polled before it has topics
            client.poll(0)
        if not isinstance(client, Producer):
            client.close()
    except KafkaException as error:
        return str(error.args[0].str()).strip(), collector.lines
    return None, collector.lines


class _Collector(logging.Handler):
    """Collects what a client logs."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
