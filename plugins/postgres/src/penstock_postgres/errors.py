"""What PostgreSQL's errors mean to the engine: one table by SQLSTATE. A full code wins over its class."""

from __future__ import annotations

import psycopg

from penstock.client_errors import ErrorTable
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected

# By code (five characters) or class (its first two). A code without a row is about the data of a record, as those of
# values, constraints and triggers are.
BY_SQLSTATE: dict[str, type[ConnectorError]] = {
    "03": ConnectorError,  # a statement was not run completely: a bug
    "08": NotConnected,  # connection exceptions
    "0A": ConnectorError,  # not supported, or a plan that no longer fits its table
    "24": ConnectorError,  # a cursor in the wrong state: a bug; the same holds for transactions and statements below
    "25": ConnectorError,
    "25006": NotConnected,  # the server became a standby, or is not the primary yet
    "25P03": NotConnected,  # idle in a transaction for too long: this process was stopped in the middle of one
    "25P04": NotConnected,  # the same for the whole transaction
    "26": ConnectorError,
    "26000": FatalConnectorError,  # a prepared statement is gone: another session answers
    "28": FatalConnectorError,  # invalid user or password
    "2D": ConnectorError,
    "34": ConnectorError,
    "3B": ConnectorError,
    "3D000": FatalConnectorError,  # unknown database
    "3F000": FatalConnectorError,  # unknown schema
    "40": NotConnected,  # serialization failure or deadlock: rolled back, can be tried again
    "42": ConnectorError,  # syntax error: our bug or a trigger's, never the record's fault
    "42501": FatalConnectorError,  # missing privilege
    "42703": FatalConnectorError,  # unknown column
    "42P01": FatalConnectorError,  # unknown table
    "42P05": FatalConnectorError,  # a prepared statement exists already: another client's session answers
    "53": NotConnected,  # out of disk, memory, connections
    "55": ConnectorError,  # an object is in use, or in the wrong state
    "55P03": NotConnected,  # another session holds a lock on the whole table
    "57": NotConnected,  # shut down, starting up, or cancelled by statement_timeout
    "58": NotConnected,  # its disk failed
    "F0": ConnectorError,  # its configuration
    "HV": ConnectorError,  # a foreign table
    "XX": ConnectorError,  # a bug of the server
}

_POOLER = (
    "a transaction pooler seems to be in between; connect directly, or through a session pooler (pool_mode = session)"
)

REMEDIES: dict[str | type[BaseException], str] = {
    "23505": "if an earlier delivery of the same message stored it, set `on_conflict: ignore` or `on_conflict: "
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

# A failed attempt to connect has no SQLSTATE, only a text of the server or libpq.
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


# Problems of TLS by libpq's words, and the part of `dsn` that has to do with each.
_TLS: dict[str | type[BaseException], str] = {
    "certificate verify failed": "the server's certificate has expired, or is of an authority that `sslrootcert` of "
    "`dsn` does not name",
    "does not match host name": "name the server in `dsn` as its certificate does (`host`), or check that this is the "
    "right server",
    "root certificate file": "correct `sslrootcert` of `dsn`",
    "server does not support SSL": "turn TLS on at the server, or lower `sslmode` of `dsn`",
    "certificate present, but not private key file": "correct `sslkey` of `dsn`",
    "could not load private key file": "correct `sslkey` of `dsn`",
    "could not read certificate file": "correct `sslcert` of `dsn`",
}


def sqlstate(error: BaseException) -> str:
    """The error's SQLSTATE, from its text where it has none; "" if neither gives one."""
    if not isinstance(error, psycopg.Error):
        return ""
    if error.sqlstate:
        return error.sqlstate
    text = str(error)
    if "FATAL:" not in text and "certificate" not in text and "no password" not in text:
        return ""
    return next((code for words, code in _FATAL_ATTEMPTS.items() if words in text and _means(words, text)), "")


def rejects_data(error: ConnectorError) -> bool:
    """Whether the cause of our error `is_about_the_record`."""
    return isinstance(error.__cause__, psycopg.Error) and is_about_the_record(error.__cause__)


def is_about_the_record(error: BaseException) -> bool:
    """Whether the server rejects the data of a record, and would reject it again."""
    code = sqlstate(error)
    if not code or _is_notify_queue_full(error):
        return False
    kind = _row(code)
    # A policy or trigger that raises another code still means this row.
    return kind is None or (kind is not NotConnected and _source(error) in (_BY_A_POLICY, _BY_A_TRIGGER))


# Where in the server an error was raised. Unlike the text, it is the same in every language.
_BY_A_POLICY = "ExecWithCheckOptions"  # row-level security; it has the code of a missing privilege
_BY_A_TRIGGER = "exec_stmt_raise"  # RAISE in PL/pgSQL, whatever code it names


def _source(error: BaseException) -> str | None:
    return error.diag.source_function if isinstance(error, psycopg.Error) else None


def _is_notify_queue_full(error: BaseException) -> bool:
    # A listener stays in a transaction. A row that is too large has the same code, so only the text tells them apart.
    return sqlstate(error) == "54000" and "NOTIFY" in str(error)


def _means(words: str, text: str) -> bool:
    # `database "x"` also occurs in texts like "database "x" is being accessed by other users".
    return not words.endswith('"') or "does not exist" in text


def _row(code: str) -> type[ConnectorError] | None:
    return BY_SQLSTATE.get(code) or BY_SQLSTATE.get(code[:2])


_QUOTABLE = ("21", "23", "44", "54")  # classes about data whose texts do not quote it
_A_VALUE = "a value does not fit its column"
_A_TRIGGER = "a trigger or function of the database raised an exception; the server's log has its text"


def _safe_text(error: BaseException) -> str:
    """The text without anything that could be data of a message."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        # Without detail and context: they quote the row and the statement's parameters.
        return _replacement(error) or error.diag.message_primary
    return " ".join(str(error).split()) or type(error).__name__


def _replacement(error: psycopg.Error) -> str | None:
    """What is shown instead of a text that may quote values; None if the text is safe."""
    code = sqlstate(error)
    if not code or _is_notify_queue_full(error):
        return None
    if _source(error) == _BY_A_TRIGGER:
        return _A_TRIGGER
    if code.startswith("22"):
        return _A_VALUE
    known = code.startswith(_QUOTABLE) or _row(code) is not None
    return None if known else _A_TRIGGER


def _describe(error: BaseException) -> tuple[str, str]:
    text = str(error)
    if tls := next((words for words in map(str, _TLS) if words in text), None):
        return _safe_text(error), tls
    code = sqlstate(error)
    if _is_notify_queue_full(error):
        code = "notify"
    elif is_about_the_record(error) and code not in REMEDIES:
        code = "record"  # the remedy of a class is for the server's own errors, not for those that a trigger raises
    return _safe_text(error), code


ERRORS = ErrorTable(
    "PostgreSQL",
    # Without a code, the connection broke or was closed before the server could answer.
    dict.fromkeys((OSError, psycopg.OperationalError, psycopg.InterfaceError), NotConnected),
    (psycopg.Error,),
    {
        **BY_SQLSTATE,
        "notify": NotConnected,
        "record": ConnectorError,
        **dict.fromkeys(map(str, _TLS), FatalConnectorError),
    },
    {**REMEDIES, **_TLS},
    _describe,
)
