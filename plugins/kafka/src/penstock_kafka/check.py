"""Judges the options of a queue without a broker: the client itself says what it does not understand."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.errors import ConfigError
from penstock.options import Role
from penstock_kafka.options import KafkaOptions, topics


def check(name: str, options: KafkaOptions, role: Role) -> Sequence[str]:
    """One sentence a problem."""
    problems = options.problems(role)
    try:
        topics(name, role)
    except ConfigError as error:
        problems += error.problems
    return problems
