"""What stands under the `config:` key of a PostgreSQL queue. No client library is imported here."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator, model_validator

from penstock.options import ConnectorOptions, FromEnvironment

NAME_BYTES = 63  # of any name in PostgreSQL
MAX_TABLE_NAME = 50  # bytes, so that names of indexes can be made from it
HIGHEST_PRIORITY = 32_767

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SCHEMES = ("postgresql://", "postgres://")
# Stricter than libpq, for which the rest of a password after an unescaped "/" or "@" is a host or a database, which
# would be shown. The user part ends at the first "@", as for libpq.
_URL = re.compile(
    r"""
    postgres(?:ql)?://
    (?:[^@/]*@)?+
    (?:\[[^\]/@]*\]|[^\[\]@/?:,]*) (?::\d*)?              # host:port
    (?:,(?:\[[^\]/@]*\]|[^\[\]@/?:,]*) (?::\d*)?)*       # and others
    (?:/[^@?]*)?
    (?:\?.*)?
    """,
    re.VERBOSE | re.DOTALL,
)
# Parts of a dsn that run code, in its URL and in its `key=value` form.
_CODE = (
    (re.compile(r"(?i)\bsslkey\s*=\s*'?[^\s'&/\\]*:"), "has an 'sslkey' that loads an engine of OpenSSL"),
    (re.compile(r"(?i)\b(service|servicefile)\s*="), "has a 'service', which a file fills with any of these keys"),
    (re.compile(r"(?i)(preload_libraries|dynamic_library_path)"), "lets the server load a library"),
)
_MAX_SECONDS = 9_999_999.0  # seconds


def identifier(name: str) -> str:
    """Reject what is not a plain name. Names are quoted wherever they are used; this only catches typing errors early.

    Raises:
        ValueError: with the reason.
    """
    if not _IDENTIFIER.fullmatch(name) or len(name) > MAX_TABLE_NAME:
        raise ValueError(
            f"{name!r} is not a plain name; write letters, digits and '_', no digit first, at most {MAX_TABLE_NAME}"
        )
    return name


def any_name(name: str) -> str:
    """Reject a name that PostgreSQL does not allow, or would cut off.

    Raises:
        ValueError: with the reason.
    """
    if not 0 < len(name.encode()) <= NAME_BYTES or "\0" in name:
        raise ValueError(f"a name in PostgreSQL has 1 to {NAME_BYTES} bytes and no NUL, not {name!r}")
    return name


Identifier = Annotated[str, AfterValidator(identifier)]
AnyName = Annotated[str, AfterValidator(any_name)]


class ServerOptions(ConnectorOptions):
    """The server, and how it is reached.

    Attributes:
        dsn: A URL, `postgresql://user:password@host:5432/database`, or libpq's `key=value` form; from POSTGRES_DSN or
            DATABASE_URL. What it leaves out, libpq takes from its own environment variables (PGHOST, PGPASSWORD, …);
            "" takes everything from them.
        schema: The schema of the table.
        timeout: Seconds after which a server that does not answer, or a statement that does not end, counts as away.
    """

    dsn: Annotated[SecretStr, FromEnvironment("POSTGRES_DSN", "DATABASE_URL")]
    schema_name: Identifier = Field(default="public", alias="schema")
    timeout: float = Field(default=10.0, gt=0, le=3600)

    @model_validator(mode="before")
    @classmethod
    def _server_is_named(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and values.get("dsn") is None:
            raise ValueError(
                "no PostgreSQL server is given: set the environment variable POSTGRES_DSN (or DATABASE_URL), or write "
                "`config: {dsn: postgresql://…}`"
            )
        return values

    def code(self) -> Mapping[tuple[str, ...], str]:
        """See `ConnectorOptions.code`."""
        text = unquote(self.dsn.get_secret_value())
        found = [what for pattern, what in _CODE if pattern.search(text)]
        return {("dsn",): found[0]} if found else {}

    @field_validator("dsn")
    @classmethod
    def _is_a_dsn(cls, dsn: SecretStr) -> SecretStr:
        text = dsn.get_secret_value()
        driver = re.match(r"postgres(ql)?\+\w+://", text)
        if driver:
            raise ValueError(f"{driver[0]!r} is SQLAlchemy's way to name a driver; write 'postgresql://'")
        if "://" in text and not text.startswith(_SCHEMES):
            raise ValueError("the URL must begin with postgresql://")
        if "://" in text and not _URL.fullmatch(text):
            raise ValueError(
                "the URL does not parse; special characters of user and password must be percent-encoded: %40 for '@', "
                "%2F for '/'"
            )
        if text and "://" not in text and "=" not in text:
            raise ValueError("this is neither a URL (postgresql://…) nor a list of key=value")
        return dsn


class PostgresOptions(ServerOptions):
    """Options of the connector `postgres`.

    Attributes:
        table: The table that holds the messages of all queues.
        create: Create the table, or bring it up to date, when connecting; else `penstock postgres migrate` does it.
        lease: Seconds for which a delivery is hidden from others; extended while it is worked on.
        notify: Wake waiting consumers with NOTIFY, once for each call of `produce`. Each such commit takes a lock of
            the whole server, so set it to false if there are very many.
        poll_interval: Longest pause, in seconds, between two looks at an empty queue. The end of a delay or lease is
            noticed at once.
    """

    table: Identifier = "penstock_messages"
    create: bool = False
    lease: float = Field(default=60.0, ge=0.1, le=_MAX_SECONDS)
    notify: bool = True
    poll_interval: float = Field(default=1.0, ge=0.01, le=60)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


COLUMN_OPTIONS = ("id", "visible", "hidden_until", "lease_token", "attempts", "unended_calls")
"""The options of a table that name columns of it."""


class TableOptions(ServerOptions):
    """Options of the connector `postgres.table`, whose queue is the table that `value` names.

    Attributes:
        id: A unique column; rows are delivered in its order.
        columns: Field of the message → column. Default: all columns except the id and those below, by their own names.
        visible: A boolean column that is true while a row waits and false while it is worked on, if the table has one.
        hidden_until, lease_token, attempts: Penstock's own columns (timestamptz, uuid, integer), which a consumer
            needs.
        unended_calls: Another one (integer), which counts calls that may have killed the worker. Without it,
            `retry.max_deliveries` counts `attempts`.
        create: Add those columns and their indexes when connecting, if they are missing; else
            `penstock postgres adopt` does it.
        lease: Seconds for which a delivery is hidden from others; extended while it is worked on.
        poll_interval: Longest pause, in seconds, between two looks at a table without waiting rows.
        on_conflict: What happens to an output whose row exists already, as after a crash: error (it goes to the
            dead-letter queue), ignore (the row stays), update (the row gets the values of the message).
        key: The columns of the unique index by which `update` finds the row, and `ignore` if it is set.
    """

    # The user chose these names, which may have spaces.
    schema_name: AnyName = Field(default="public", alias="schema")
    id: AnyName = "id"
    columns: Mapping[AnyName, AnyName] | None = None
    visible: AnyName | None = None
    hidden_until: AnyName = "penstock_hidden_until"
    lease_token: AnyName = "penstock_lease"  # noqa: S105  (no password)
    attempts: AnyName = "penstock_attempts"
    unended_calls: AnyName = "penstock_unended_calls"
    create: bool = False
    lease: float = Field(default=60.0, ge=0.1, le=_MAX_SECONDS)
    poll_interval: float = Field(default=1.0, ge=0.01, le=60)
    on_conflict: Literal["error", "ignore", "update"] = "error"
    key: Annotated[Annotated[tuple[AnyName, ...], Field(min_length=1)] | None, BeforeValidator(_listed)] = None

    @model_validator(mode="after")
    def _key_fits(self) -> TableOptions:
        if self.on_conflict == "update" and self.key is None:
            raise ValueError("'on_conflict: update' needs 'key', the columns of a unique index; write `key: [id]`")
        if self.on_conflict == "error" and self.key is not None:
            raise ValueError("'key' has no effect with 'on_conflict: error'; write `on_conflict: ignore` or `update`")
        if self.key is not None and len(set(self.key)) < len(self.key):
            raise ValueError("'key' names a column twice")
        return self

    def adopt_command(self, table: str) -> str:
        """The command that adds the columns and indexes for these options."""
        words = ["penstock", "postgres", "adopt", table]
        if self.schema_name != "public":
            words += ["--schema", self.schema_name]
        for option in COLUMN_OPTIONS:
            name, default = getattr(self, option), type(self).model_fields[option].default
            if name != default:
                words += [f"--{option.replace('_', '-')}", name]
        return shlex.join(words)

    @property
    def own_columns(self) -> tuple[str, ...]:
        """The columns that are not part of a message unless `columns` names them."""
        visible = () if self.visible is None else (self.visible,)
        return (self.id, *visible, self.hidden_until, self.lease_token, self.attempts, self.unended_calls)


def slot_name(queue: str) -> str:
    """The replication slot of a queue. A slot's name has no '-', so that stands for '_'."""
    return queue.replace("-", "_")


class ChangesOptions(ServerOptions):
    """Options of the connector `postgres.changes`, whose queue is the replication slot that `value` names.

    Attributes:
        schema: The schema of tables that are named without one.
        tables: Tables whose changes are wanted, as `users` or `shop.users`. They must be in the publication; with
            `create`, it is made of them.
        publication: The publication; the slot's name unless it is given.
        messages: The prefix of logical messages (`pg_logical_emit_message`) to deliver as well: their content is the
            body. PostgreSQL 14 or later.
        create: Make publication and slot when connecting, if they are missing.
        snapshot: If the slot is made, deliver first the rows that the tables have by then.
        session_timeout: Seconds after which the server gives the slot to a worker that stands by, if it hears nothing
            from the one that reads it.
        heartbeat: Seconds between two reports to the server, which answers with its position; so a slot without
            changes lets log go. At most a third of `session_timeout`.
        warn_retained: Bytes of log kept for the slot from which on the worker warns.
    """

    schema_name: AnyName = Field(default="public", alias="schema")
    tables: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    publication: AnyName | None = None
    messages: str | None = Field(default=None, min_length=1)
    create: bool = False
    snapshot: bool = False
    session_timeout: float = Field(default=60.0, ge=1, le=3600)
    heartbeat: float = Field(default=10.0, gt=0, le=600)
    warn_retained: int = Field(default=1 << 30, ge=1)

    def qualified(self, table: str) -> tuple[str, str]:
        """Schema and name of a table."""
        schema, dot, name = table.rpartition(".")
        return (schema, name) if dot else (self.schema_name, name)

    @property
    def heartbeat_seconds(self) -> float:
        """See `heartbeat`."""
        return min(self.heartbeat, self.session_timeout / 3)

    @model_validator(mode="after")
    def _snapshot_is_made(self) -> ChangesOptions:
        if self.snapshot and not self.create:
            raise ValueError("'snapshot' has no effect without `create: true`: it is taken when the slot is made")
        return self


class PollOptions(ServerOptions):
    """Options of the connector `postgres.poll`, whose queue is the table that `value` names.

    Attributes:
        id: The columns of its primary key.
        xid: The column that has the transaction of each row.
        body: A column whose value is the body, as of an outbox table; else the body is a change with the whole row.
        reader: Readers of different names each get every row.
        marks: The table that holds how far each reader has settled, in the same schema.
        create: Add the column, its index and the table of marks when connecting, if they are missing.
        poll_interval: Seconds between two looks at a table without new rows.
    """

    schema_name: AnyName = Field(default="public", alias="schema")
    id: Annotated[Annotated[tuple[AnyName, ...], Field(min_length=1)], BeforeValidator(_listed)] = ("id",)
    xid: AnyName = "penstock_xid"
    body: AnyName | None = None
    reader: str = Field(default="penstock", min_length=1)
    marks: AnyName = "penstock_marks"
    create: bool = False
    poll_interval: float = Field(default=1.0, ge=0.01, le=600)
