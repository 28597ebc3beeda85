"""The columns of a table of the user's: what they are, and those that consuming needs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from penstock.errors import FatalConnectorError, NotConnected
from penstock_postgres.names import index, table
from penstock_postgres.options import TableOptions
from penstock_postgres.schema import alone
from penstock_postgres.statements import Runs, statement

_TIME = re.compile(r"timestamp(\(\d\))? with time zone")
_COUNT = re.compile(r"smallint|integer|bigint")


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: Its name.
        type: Its type, as SQL writes it.
        generated: The database fills it, and takes no value for it.
        never_null: It says so.
    """

    name: str
    type: str
    generated: bool
    never_null: bool


async def columns_of(connection: Runs, name: str, options: TableOptions) -> Mapping[str, Column]:
    """The columns of a table, by name and in its order; {} if there is no such table."""
    rows = await connection.run(statement("rows/columns", {}), {"table": _written(options, name)})
    return {row[0]: Column(*row) for row in rows}


async def is_unique(connection: Runs, name: str, options: TableOptions) -> bool:
    """Whether no two rows can have the same id."""
    parameters = {"table": _written(options, name), "id": options.id}
    [[indexes]] = await connection.run(statement("rows/unique", {}), parameters)
    return bool(indexes)


async def has_heirs(connection: Runs, name: str, options: TableOptions) -> bool:
    """Whether rows of other tables, which inherit from it, show in it."""
    [[heirs]] = await connection.run(statement("rows/heirs", {}), {"table": _written(options, name)})
    return bool(heirs)


def wrong_types(columns: Mapping[str, Column], options: TableOptions) -> Sequence[str]:
    """One sentence for each of Penstock's own columns whose type will not do. All of them are there."""
    wanted = {options.hidden_until: (_TIME, "timestamptz"), options.attempts: (_COUNT, "integer")}
    wanted[options.lease_token] = (re.compile("uuid"), "uuid")
    if options.unended_calls in columns:
        wanted[options.unended_calls] = (_COUNT, "integer")
    if options.visible:
        wanted[options.visible] = (re.compile("boolean"), "boolean")
    return [
        f"column {name!r} is {columns[name].type}, and must be {words}"
        for name, (pattern, words) in wanted.items()
        if not pattern.fullmatch(columns[name].type)
    ]


async def adopt(connection: Runs, name: str, options: TableOptions) -> None:
    """Add the columns and indexes that a table needs to be consumed from. What is there already is left as it is.

    Raises:
        FatalConnectorError: it takes longer than a statement may: the table is large, or somebody holds a lock on it.
    """
    if await _is_adopted(connection, name, options):
        return  # no lock is taken for nothing
    names = {
        "table": table(options.schema_name, name),
        "id": sql.Identifier(options.id),
        "hidden_until": sql.Identifier(options.hidden_until),
        "lease_token": sql.Identifier(options.lease_token),
        "attempts": sql.Identifier(options.attempts),
        "unended_calls": sql.Identifier(options.unended_calls),
        "and_visible": sql.SQL(" AND {}").format(sql.Identifier(options.visible)) if options.visible else sql.SQL(""),
        "ready_index": sql.Identifier(_ready_index(name, options)),
        "hidden_index": sql.Identifier(_hidden_index(name)),
    }
    try:
        # All of it or nothing: a table with the columns and without the indexes would only be slow, and nobody told.
        async with alone(connection):
            for part in statement("rows/adopt", names).as_string().split(";\n"):
                await connection.run(sql.SQL(part.removesuffix(";")))
    except NotConnected as error:
        if not isinstance(error.__cause__, psycopg.errors.QueryCanceled):
            raise
        # Tried again and again, it would lock the table for everybody each time.
        raise FatalConnectorError(
            f"table {options.schema_name}.{name} could not be given its columns and indexes within `timeout` "
            f"({options.timeout:g} s); run `{options.adopt_command(name)}` once"
        ) from error


async def _is_adopted(connection: Runs, name: str, options: TableOptions) -> bool:
    """Whether there is nothing to add; also if there is no such table, or no such id, which is told elsewhere."""
    columns = await columns_of(connection, name, options)
    if options.id not in columns or (options.visible is not None and options.visible not in columns):
        return True
    if not {options.hidden_until, options.lease_token, options.attempts, options.unended_calls} <= columns.keys():
        return False
    names = {"ready_index": _ready_index(name, options), "hidden_index": _hidden_index(name)}
    indexes = {parameter: _written(options, each) for parameter, each in names.items()}
    [[found]] = await connection.run(statement("rows/adopted", {}), indexes)
    return bool(found == len(indexes))


def _ready_index(name: str, options: TableOptions) -> str:
    # Rows that others keep invisible must not be in the way of a claim either; an index for that is another one.
    return index(name, "v" if options.visible else "r")


def _hidden_index(name: str) -> str:
    return index(name, "h")


def _written(options: TableOptions, name: str) -> str:
    return table(options.schema_name, name).as_string()
