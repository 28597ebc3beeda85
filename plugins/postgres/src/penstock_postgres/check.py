"""Options and names judged without a server; `penstock check` and start-up ask the same function."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.options import OptionProblem, Role
from penstock_postgres.options import ServerOptions, TableOptions, any_name

LONGEST_QUEUE = 255  # characters of a queue's name; it stands in every row and in an index


def check(name: str, options: ServerOptions, role: Role) -> Sequence[str]:  # noqa: ARG001  (both roles, the same rules)
    """One sentence a problem.

    Args:
        name: The queue's name; for `postgres.table` the table's.
        options: Its options.
        role: What it is opened for.
    """
    problems = list(_dsn_problems(options.dsn.get_secret_value()))
    problems += table_problems(name) if isinstance(options, TableOptions) else name_problems(name)
    return problems


def name_problems(queue: str) -> Sequence[str]:
    """Why a queue in the table of messages cannot have this name."""
    if len(queue) > LONGEST_QUEUE or "\0" in queue:
        return [f"a queue's name has at most {LONGEST_QUEUE} characters, and no NUL"]
    return []


def table_problems(name: str) -> Sequence[str]:
    """Why a table cannot have this name, or was probably not meant by it."""
    try:
        any_name(name)
    except ValueError as error:
        return [f"the table's name: {error}"]
    if "." in name:
        return [f"the table's name {name!r} has a dot; `value` names the table, `schema` its schema"]
    return []


def _dsn_problems(dsn: str) -> Sequence[str]:
    # psycopg knows what libpq understands; it is imported only here, when a queue is judged, not when one is listed.
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        # Its text quotes the DSN.
        text = "'dsn' does not parse; special characters of a password must be percent-encoded in a URL"
        return [OptionProblem(text, "dsn")]
    return []
