"""What happens to a row that exists already: `on_conflict` of `postgres.table`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import sql

from penstock.errors import FatalConnectorError
from penstock_postgres.names import quoted
from penstock_postgres.options import TableOptions
from penstock_postgres.statements import Runs, statement

_NOTHING = sql.SQL("")


class Conflicts:
    """Writes the ON CONFLICT clause of an INSERT.

    Args:
        name: The table.
        options: With `on_conflict` and `key`.
    """

    def __init__(self, name: str, options: TableOptions) -> None:
        self._name = name
        self._mode = options.on_conflict
        self._key = options.key or ()
        self._schema = options.schema_name
        self._target: sql.Composable = _NOTHING
        self._fields: Mapping[str, str] = {}
        self._is_partial = False
        self.privileges = {"error": (), "ignore": ("SELECT",), "update": ("SELECT", "UPDATE")}[self._mode]

    async def prepare(self, session: Runs, mapping: Mapping[str, str], shown: str) -> None:
        """Find the unique index that `key` names.

        Args:
            session: The session.
            mapping: Field of a message → column.
            shown: The table, for errors.

        Raises:
            FatalConnectorError: these columns have no unique index, or no field of a message is stored in one of them.
        """
        if not self._key:
            return
        self._fields = {field: column for field, column in mapping.items() if column in self._key}
        if missing := [column for column in self._key if column not in self._fields.values()]:
            raise FatalConnectorError(f"{shown}: `key` names {missing[0]!r}, which no field of a message is stored in")
        found = await session.run(
            statement("rows/arbiter", {}),
            {"table": quoted(self._schema, self._name).as_string(), "columns": sorted(self._key)},
        )
        columns = ", ".join(self._key)
        if not found:
            raise FatalConnectorError(
                f"{shown} has no unique index over {columns}, which `key` names and `on_conflict: {self._mode}` needs; "
                "create one (not DEFERRABLE), or name the columns of one"
            )
        [predicate] = found[0]
        self._is_partial = predicate is not None
        target = sql.SQL("({})").format(sql.SQL(", ").join(quoted(column) for column in self._key))
        # Safe as it is: PostgreSQL has written this text.
        where = sql.SQL(f" WHERE {predicate.replace('%', '%%')}") if predicate else _NOTHING
        self._target = target + where

    def clause(self, columns: Sequence[str]) -> sql.Composable:
        """The clause for an INSERT into these columns."""
        if self._mode == "error":
            return _NOTHING
        changed = [column for column in columns if column not in self._key]
        if self._mode == "ignore" or not changed:
            return sql.SQL(" ON CONFLICT {} DO NOTHING").format(self._target)
        changes = (sql.SQL("{0} = EXCLUDED.{0}").format(quoted(column)) for column in changed)
        return sql.SQL(" ON CONFLICT {} DO UPDATE SET {}").format(self._target, sql.SQL(", ").join(changes))

    @property
    def fields(self) -> Sequence[str]:
        """The fields of the key, if a statement has to make sure that it updates no row twice."""
        return tuple(self._fields) if self._mode == "update" and not self._is_partial else ()

    def missing(self, fields: Sequence[str]) -> str | None:
        """The first field of the key that a record lacks."""
        return next((field for field in self._fields if field not in fields), None)

    def identity(self, body: str) -> tuple[str, ...] | None:
        """The key of a record, for splitting: one statement may update a row only once.

        Different keys may look equal, which costs a statement more; equal keys never look different.
        """
        if self._mode != "update":
            return None
        content = json.loads(body)
        return tuple(_plain(content[field]) for field in self._fields)


def _plain(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "".join(character for character in str(value).casefold() if character.isalnum())
