"""Checks options and names without a server, for `penstock check` and for start-up."""

from __future__ import annotations

import re
from collections.abc import Sequence

from penstock.options import OptionProblem, Role
from penstock_postgres.options import ChangesOptions, PollOptions, ServerOptions, TableOptions, any_name, slot_name

MAX_SLOT_NAME = 63  # characters, as PostgreSQL has them
MAX_QUEUE_NAME = 255  # characters; the name is stored in every row and in an index


def check(name: str, options: ServerOptions, role: Role) -> Sequence[str]:  # noqa: ARG001  (both roles, the same rules)
    """One sentence for each problem.

    Args:
        name: The queue's name; for `postgres.table` the table's name.
        options: Its options.
        role: What it is opened for.
    """
    problems = list(_dsn_problems(options.dsn.get_secret_value()))
    if isinstance(options, ChangesOptions):
        problems += slot_problems(slot_name(name))
    else:
        problems += table_problems(name) if isinstance(options, TableOptions | PollOptions) else name_problems(name)
    return problems


def name_problems(queue: str) -> Sequence[str]:
    """Problems of the name of a queue in the table of messages."""
    if len(queue) > MAX_QUEUE_NAME or "\0" in queue:
        return [f"a queue's name has at most {MAX_QUEUE_NAME} characters, and no NUL"]
    return []


def slot_problems(slot: str) -> Sequence[str]:
    """Problems of a slot's name."""
    if not re.fullmatch(f"[a-z0-9_]{{1,{MAX_SLOT_NAME}}}", slot):
        return [
            f"{slot!r} is not a replication slot's name; write lower-case letters, digits and '_', at most "
            f"{MAX_SLOT_NAME}"
        ]
    return []


def table_problems(name: str) -> Sequence[str]:
    """Problems of a table's name, one of which is that it probably means something else."""
    try:
        any_name(name)
    except ValueError as error:
        return [f"the table's name: {error}"]
    if "." in name:
        return [f"the table's name {name!r} has a dot; `value` names the table, `schema` its schema"]
    return []


def _dsn_problems(dsn: str) -> Sequence[str]:
    # Imported here, so that listing plugins does not import psycopg.
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        # Its text quotes the DSN, so it is not shown.
        text = "'dsn' does not parse; special characters of a password must be percent-encoded in a URL"
        return [OptionProblem(text, "dsn")]
    return []
