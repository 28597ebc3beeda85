"""What PostgreSQL says, in Penstock's words: one table by SQLSTATE, the longest prefix wins."""

from __future__ import annotations

from typing import TypeVar

import psycopg

from penstock.errors import ConnectorError, FatalConnectorError, NotConnected

Kind = type[ConnectorError]
T = TypeVar("T")

# A code of five characters, or the class that its first two are. A code without a row is about the data of a record:
# values and constraints have none, nor has what a trigger makes up.
BY_SQLSTATE: dict[str, Kind] = {
    "03": ConnectorError,  # not all of a statement was run: a bug
    "08": NotConnected,  # connection exceptions
    "0A": ConnectorError,  # not supported, or a plan that no longer fits its table
    "24": ConnectorError,  # a cursor in the wrong state; so are the next ones of transactions and statements: bugs
    "25": ConnectorError,
    "25006": NotConnected,  # a server that has become a standby, or is not the primary yet
    "25P03": NotConnected,  # idle in transaction for too long: this process was stopped in the middle of one
    "25P04": NotConnected,  # the same, of the whole transaction
    "26": ConnectorError,
    "26000": FatalConnectorError,  # a prepared statement is gone: another session than ours answers
    "28": FatalConnectorError,  # who are you
    "2D": ConnectorError,
    "34": ConnectorError,
    "3B": ConnectorError,
    "3D000": FatalConnectorError,  # no such database
    "3F000": FatalConnectorError,  # no such schema
    "40": NotConnected,  # serialisation failure, deadlock: rolled back, may be tried again
    "42": ConnectorError,  # a statement that is none: a bug of ours, or of a trigger, whatever the record
    "42501": FatalConnectorError,  # no privilege
    "42703": FatalConnectorError,  # no such column
    "42P01": FatalConnectorError,  # no such table
    "42P05": FatalConnectorError,  # a prepared statement is there already: somebody else's session answers
    "53": NotConnected,  # out of disk, memory, connections
    "55": ConnectorError,  # an object is in use, or in the wrong state
    "55P03": NotConnected,  # somebody holds a lock on the whole table
    "57": NotConnected,  # shut down, starting, cancelled by statement_timeout
    "58": NotConnected,  # its disk failed
    "F0": ConnectorError,  # its configuration
    "HV": ConnectorError,  # a foreign table
    "XX": ConnectorError,  # a bug of its own
}

_POOLER = (
    "a transaction pooler seems to be in between; connect directly, or by a pooler of sessions (pool_mode = session)"
)

REMEDIES = {
    "23505": "if it is there since an earlier delivery of the same message, set `on_conflict: ignore` or `on_conflict: "
    "update` with `key` in the queue's config",
    "26000": _POOLER,
    "28": "check user and password of `dsn`, and the server's pg_hba.conf",
    "3D000": "create the database, or name another one in `dsn`",
    "3F000": "run `penstock postgres migrate`, or name another `schema`",
    "42501": "the connector's README lists the privileges that are needed",
    "42703": "the table was changed, or is not of this version; run `penstock postgres migrate` (for a table of yours "
    "`penstock postgres adopt`), or set `create: true`",
    "42P01": "run `penstock postgres migrate`, or set `create: true`",
    "42P05": _POOLER,
}

# An attempt to connect that fails has no SQLSTATE, only the server's or libpq's text.
_FATAL_ATTEMPTS = {
    "password authentication failed": "28",
    "no password supplied": "28",
    "no pg_hba.conf entry": "28",
    "authentication failed": "28",
    "certificate verify failed": "28",
    "is not permitted to log in": "28",
    "permission denied for database": "42501",
    'role "': "28",
    'database "': "3D000",
}


def as_connector_error(error: BaseException, address: str) -> ConnectorError:
    """The error of ours that says what to do about `error`.

    Args:
        error: What psycopg or the socket raised.
        address: The server and the database, for the text.
    """
    code = sqlstate(error)
    kind = NotConnected if _is_crowded(error) else _lookup(BY_SQLSTATE, code) or _kind_of_class(error)
    remedy = None if is_about_the_record(error) and code not in REMEDIES else _lookup(REMEDIES, code)
    return kind(f"PostgreSQL at {address}: {_told(error)}" + (f"; {remedy}" if remedy else ""))


def sqlstate(error: BaseException) -> str:
    """The error's code; "" if it has none and its text tells none."""
    if not isinstance(error, psycopg.Error):
        return ""
    if error.sqlstate:
        return error.sqlstate
    text = str(error)
    if "FATAL:" not in text and "certificate" not in text and "no password" not in text:
        return ""
    return next((code for words, code in _FATAL_ATTEMPTS.items() if words in text and _means(words, text)), "")


def refuses_data(error: ConnectorError) -> bool:
    """Whether an error of ours stands for one that `is_about_the_record`."""
    return isinstance(error.__cause__, psycopg.Error) and is_about_the_record(error.__cause__)


def is_about_the_record(error: BaseException) -> bool:
    """Whether the server refuses the data, and would refuse it again."""
    code = sqlstate(error)
    if not code or _is_crowded(error):
        return False
    kind = _lookup(BY_SQLSTATE, code)
    # A code that means something else, as a rule, was meant for this row.
    return kind is None or (kind is not NotConnected and _source(error) in (_BY_A_POLICY, _BY_A_TRIGGER))


# Where in the server an error was raised: the same in every language, unlike its text.
_BY_A_POLICY = "ExecWithCheckOptions"  # row-level security; its code is that of a missing privilege
_BY_A_TRIGGER = "exec_stmt_raise"  # RAISE in PL/pgSQL, whatever code it names


def _source(error: BaseException) -> str | None:
    return error.diag.source_function if isinstance(error, psycopg.Error) else None


def _is_crowded(error: BaseException) -> bool:
    # The queue of notifications is full since some listener sleeps in a transaction. The code is that of a row that is
    # too large; only the text tells.
    return sqlstate(error) == "54000" and "NOTIFY" in str(error)


def _means(words: str, text: str) -> bool:
    # `database "x"` is also in "database "x" is being accessed by other users" and the like.
    return not words.endswith('"') or "does not exist" in text


def _lookup(table: dict[str, T], code: str) -> T | None:
    return table.get(code) or table.get(code[:2])


def _kind_of_class(error: BaseException) -> Kind:
    # Without a code: the connection broke, or was closed; the server said nothing.
    lost = isinstance(error, OSError | psycopg.OperationalError | psycopg.InterfaceError) and not sqlstate(error)
    return NotConnected if lost else ConnectorError


_QUOTABLE = ("21", "23", "44", "54")  # about data, in words that do not quote it
_A_VALUE = "a value does not fit its column"
_A_TRIGGER = "a trigger or function of the database raised an exception; the server's log has its text"


def _told(error: BaseException) -> str:
    """The text without what could be data of a message."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        # Not the detail, which quotes the row, nor the context, which quotes the statement's parameters.
        return _instead(error) or error.diag.message_primary
    return " ".join(str(error).split()) or type(error).__name__


def _instead(error: psycopg.Error) -> str | None:
    """What is said instead of a text that may quote values."""
    code = sqlstate(error)
    if not code or _is_crowded(error):
        return None
    if _source(error) == _BY_A_TRIGGER:
        return _A_TRIGGER
    if code.startswith("22"):
        return _A_VALUE
    known = code.startswith(_QUOTABLE) or _lookup(BY_SQLSTATE, code) is not None
    return None if known else _A_TRIGGER
