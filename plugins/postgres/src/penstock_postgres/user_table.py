"""A user's table as a queue: its rows are messages, as JSON objects, and messages become rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from psycopg import sql

from penstock.errors import FatalConnectorError, ProduceError
from penstock.message import Record
from penstock_postgres import schema
from penstock_postgres.conflicts import Conflicts
from penstock_postgres.message import PostgresMessage, abandoned
from penstock_postgres.names import quoted
from penstock_postgres.options import TableOptions
from penstock_postgres.queue_table import Insert
from penstock_postgres.session import Parameters, Query
from penstock_postgres.statements import Runs, statement
from penstock_postgres.table_columns import Column, adopt, columns_of, has_child_tables, is_unique, wrong_types
from penstock_postgres.writes import too_large

_NOTHING = sql.SQL("")


class UserTable:
    """See `QueueTable`. Its columns are read from the database when it is prepared.

    Args:
        name: The table.
        options: What its columns are for.
    """

    channel: str | None = None
    scope: Mapping[str, Any] = {}
    claim: Query
    claim_chosen: Query
    wake: Query
    delete: Query
    extend: Query
    release: Query
    record_calls: Query | None = None
    lag: Query
    backlog: Query
    _browse: tuple[Query, Query]  # from the start, and behind a position

    def __init__(self, name: str, options: TableOptions) -> None:
        self._name = name
        self._options = options
        self.label = f"table {options.schema_name}.{name}"
        self._columns: Mapping[str, Column] = {}
        self._conflicts = Conflicts(name, options)

    async def prepare_to_consume(self, session: Runs) -> None:
        """See `QueueTable`."""
        options = self._options
        if options.create:
            await adopt(session, self._name, options)
        columns = await self._read_columns(session)
        named = [options.id, *([options.visible] if options.visible else ()), *(options.columns or {}).values()]
        self._require(columns, named)
        own = [options.hidden_until, options.lease_token, options.attempts]
        if missing := [column for column in own if column not in columns]:
            raise FatalConnectorError(
                f"{self.label} has no {', '.join(missing)}, which it needs to be consumed from; run "
                f"`{options.adopt_command(self._name)}`, or set `create: true` in the queue's config"
            )
        if problems := wrong_types(columns, options):
            raise FatalConnectorError(f"{self.label}: {'; '.join(problems)}")
        if not columns[options.id].never_null or not await is_unique(session, self._name, options):
            raise FatalConnectorError(
                f"column {options.id!r} of {self.label} must be unique and NOT NULL: else settling one row "
                f"would settle others, and some would never be delivered; set `id` to a primary key or a similar column"
            )
        if await has_child_tables(session, self._name, options):
            raise FatalConnectorError(
                f"other tables inherit from {self.label}, and their rows may have the same ids; consume from them "
                f"instead, or make them its partitions"
            )
        await schema.verify_privileges(session, options.schema_name, self._name, ("SELECT", "UPDATE", "DELETE"))
        self._compose(columns)

    async def prepare_to_browse(self, session: Runs) -> None:
        """See `QueueTable`."""
        options = self._options
        columns = await self._read_columns(session)
        self._require(columns, [*options.own_columns[:-1], *(options.columns or {}).values()])
        await schema.verify_privileges(session, options.schema_name, self._name, ("SELECT",))
        self._compose(columns)

    def chosen(self, positions: Sequence[str]) -> Parameters:
        """See `QueueTable`."""
        return {"chosen": list(positions)}

    def browse(self, after: str | None) -> tuple[Query, Parameters]:
        """See `QueueTable`."""
        first, behind = self._browse
        return (first, {}) if after is None else (behind, {"after": after})

    async def prepare_to_produce(self, session: Runs) -> None:
        """See `QueueTable`."""
        columns = await self._read_columns(session)
        own = set(self._options.own_columns) - {self._options.id}
        mapping = self._options.columns or {name: name for name in columns if name not in own}
        self._require(columns, mapping.values())
        self._columns = {field: columns[name] for field, name in mapping.items() if not columns[name].generated}
        await self._conflicts.prepare(
            session, {field: column.name for field, column in self._columns.items()}, self.label
        )
        await schema.verify_privileges(
            session, self._options.schema_name, self._name, ("INSERT", *self._conflicts.privileges)
        )

    async def _read_columns(self, session: Runs) -> Mapping[str, Column]:
        columns = await columns_of(session, self._name, self._options)
        if not columns:
            raise FatalConnectorError(f"there is no {self.label}; `value` names it, `schema` its schema")
        return columns

    def _require(self, columns: Mapping[str, Column], wanted: Any) -> None:
        if missing := [name for name in wanted if name not in columns]:
            raise FatalConnectorError(
                f"{self.label} has no column {', '.join(map(repr, missing))}; it has {', '.join(columns)}"
            )

    def _compose(self, columns: Mapping[str, Column]) -> None:
        options, visible = self._options, self._options.visible
        own = set(options.own_columns) - {options.id}
        mapping = options.columns or {name: name for name in columns if name not in own}
        calls, counts = quoted(options.unended_calls), options.unended_calls in columns
        names: dict[str, sql.Composable] = {
            "table": quoted(options.schema_name, self._name),
            "id": quoted(options.id),
            "id_type": _type(columns[options.id]),
            "hidden_until": quoted(options.hidden_until),
            "lease_token": quoted(options.lease_token),
            "attempts": quoted(options.attempts),
            "waits": quoted(visible) if visible else sql.SQL("true"),
            "and_hide": sql.SQL(", {} = false").format(quoted(visible)) if visible else _NOTHING,
            "and_show": sql.SQL(", {} = true").format(quoted(visible)) if visible else _NOTHING,
            "and_hand_over": _hand_over(options, counts) if visible else _NOTHING,
            "unended_calls": sql.SQL("t.{}").format(calls) if counts else sql.SQL("NULL::integer"),
            "fields": sql.SQL(", ").join(
                sql.SQL("t.{} AS {}").format(quoted(column), quoted(field)) for field, column in mapping.items()
            ),
        }
        chosen = sql.SQL(" AND {id} = ANY(%(chosen)s::text[]::{id_type}[])").format(**names)
        self.claim = statement("rows/claim", {**names, "and_chosen": _NOTHING})
        self.claim_chosen = statement("rows/claim", {**names, "and_chosen": chosen})
        self.wake = statement("rows/wake", names)
        self.delete = statement("rows/delete", names)
        self.extend = statement("rows/extend", names)
        self.release = statement("rows/release", names)
        self.record_calls = statement("rows/record_calls", {**names, "unended_calls": calls}) if counts else None
        self.lag = statement("rows/lag", names)
        self.backlog = statement("rows/backlog", names)
        behind = sql.SQL(" WHERE t.{id} > %(after)s::text::{id_type}").format(**names)
        self._browse = (
            statement("rows/browse", {**names, "behind": _NOTHING}),
            statement("rows/browse", {**names, "behind": behind}),
        )

    def message(self, row: tuple[Any, ...], token: UUID) -> PostgresMessage:
        """See `QueueTable`."""
        row_id, body, attempts, last_lease, calls = row
        left: int | None = abandoned(last_lease, calls or 0, token)
        if calls is None and (left or self._options.visible):
            left = None  # without the column, deaths are not counted, and a visible row does not even show one
        return PostgresMessage(row_id, body, None, None, None, attempts, token, left)

    def fence(self, messages: Sequence[PostgresMessage]) -> dict[str, Any]:
        """See `QueueTable`."""
        return {
            "ids": [message.message_context for message in messages],
            "tokens": [message.token for message in messages],
        }

    def rejection(self, record: Record) -> ProduceError | None:
        """See `QueueTable`."""
        if (error := too_large(record)) is not None:
            return error
        fields, problem = _fields(record)
        if problem is None and record.options:
            problem = f"takes no option {next(iter(record.options))!r} with a message"
        if problem is None and (unknown := [field for field in fields if field not in self._columns]):
            if "penstock-envelope" in unknown:  # the engine's envelope for headers and key
                problem = "has no place for headers or keys"
            else:
                problem = f"has no column for {', '.join(map(repr, unknown))}, only for {', '.join(self._columns)}"
        if problem is None and (key := self._conflicts.missing(fields)):
            problem = f"knows its rows by {key!r} (`key`), which this message does not have"
        return None if problem is None else ProduceError(f"{self.label} {problem}", retriable=False)

    def inserts(self, records: Sequence[Record], positions: Sequence[int]) -> Sequence[Insert]:
        """See `QueueTable`. A column that a message leaves out gets its default, so each run of messages with the same
        fields is one statement."""
        inserts: list[Insert] = []
        begun: tuple[str, ...] | None = None
        met: set[tuple[str, ...] | None] = set()  # keys in this statement, which may update a row only once
        for position in positions:
            fields = tuple(_fields(records[position])[0])
            body = (records[position].message or b"").decode("utf-8")
            identity = self._conflicts.identity(body)
            if fields == begun and (identity is None or identity not in met):
                inserts[-1].positions.append(position)  # type: ignore[attr-defined]  # a list, made here
                inserts[-1].parameters["bodies"].append(body)
            else:
                inserts.append(Insert(self._insert(fields), {"bodies": [body]}, [position]))
                begun = fields
                met.clear()
            met.add(identity)
        return inserts

    def _insert(self, fields: Sequence[str]) -> Query:
        if not fields:
            return sql.SQL("INSERT INTO {} SELECT FROM unnest(%(bodies)b::text[]){}").format(
                quoted(self._options.schema_name, self._name), self._conflicts.clause(())
            )
        columns = [self._columns[field] for field in fields]
        typed = [
            sql.SQL("{} {}").format(quoted(field), _type(column)) for field, column in zip(fields, columns, strict=True)
        ]
        key = self._conflicts.fields
        return statement(
            "rows/upsert" if key else "rows/insert",
            {
                "table": quoted(self._options.schema_name, self._name),
                "columns": sql.SQL(", ").join(quoted(column.name) for column in columns),
                "fields": sql.SQL(", ").join(quoted("r", field) for field in fields),
                "typed_fields": sql.SQL(", ").join(typed),
                "key": sql.SQL(", ").join(quoted("r", field) for field in key),
                "place": quoted("penstock place"),
                "on_conflict": self._conflicts.clause([column.name for column in columns]),
            },
        )


def _hand_over(options: TableOptions, counts: bool) -> sql.Composed:
    # Other programs, which ignore tokens, may take the row from now on, so its token is removed. That its lease ended
    # is kept in the number of calls.
    assert options.visible is not None  # noqa: S101  (checked by the caller)
    handed = sql.SQL(", {} = true, {} = NULL").format(quoted(options.visible), quoted(options.lease_token))
    if not counts:
        return handed
    # A row that was requeued with a delay has no token: no worker has died with it.
    ended = sql.SQL(", {0} = CASE WHEN {1} IS NULL THEN {0} ELSE greatest({0}, 1) END")
    return handed + ended.format(quoted(options.unended_calls), quoted(options.lease_token))


def _type(column: Column) -> sql.SQL:
    # PostgreSQL has quoted it; only `%` must be escaped for psycopg.
    return sql.SQL(column.type.replace("%", "%%"))


def _fields(record: Record) -> tuple[Sequence[str], str | None]:
    """The names of a record's fields, sorted; or the reason why it has none."""
    if record.message is None:
        return (), "takes no null body (tombstone)"
    try:
        # Decoded here, because json.loads would also accept UTF-16.
        content = json.loads(record.message.decode("utf-8"))
    except (ValueError, RecursionError):
        return (), "takes messages that are JSON objects, and this one is not JSON"
    if not isinstance(content, dict):
        return (), f"takes messages that are JSON objects, and this one is a {type(content).__name__}"
    return sorted(content), None
