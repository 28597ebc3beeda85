"""The columns of a user's table: their types, and those that a consumer needs."""

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
        generated: The database fills it and accepts no value for it.
        never_null: It is declared NOT NULL.
    """

    name: str
    type: str
    generated: bool
    never_null: bool


async def columns_of(session: Runs, name: str, options: TableOptions) -> Mapping[str, Column]:
    """The columns of a table by name, in its order; {} if the table does not exist."""
    rows = await session.run(statement("rows/columns", {}), {"table": _written(options, name)})
    return {row[0]: Column(*row) for row in rows}


async def is_unique(session: Runs, name: str, options: TableOptions) -> bool:
    """Whether the id column is unique."""
    parameters = {"table": _written(options, name), "id": options.id}
    [[indexes]] = await session.run(statement("rows/unique", {}), parameters)
    return bool(indexes)


async def has_child_tables(session: Runs, name: str, options: TableOptions) -> bool:
    """Whether other tables inherit from it, so that their rows show in it."""
    [[child_tables]] = await session.run(statement("rows/child_tables", {}), {"table": _written(options, name)})
    return bool(child_tables)


def wrong_types(columns: Mapping[str, Column], options: TableOptions) -> Sequence[str]:
    """One sentence for each of Penstock's own columns that has a wrong type. All of these columns exist."""
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


async def adopt(session: Runs, name: str, options: TableOptions) -> None:
    """Add the columns and indexes that a consumer needs. Existing ones are left as they are.

    Raises:
        FatalConnectorError: it takes longer than `timeout`: the table is large, or another session has locked it.
    """
    if await _is_adopted(session, name, options):
        return  # without taking a lock
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
        # All or nothing: a table with the columns but without the indexes would be slow without an error.
        async with alone(session):
            for part in statement("rows/adopt", names).as_string().split(";\n"):
                await session.run(sql.SQL(part.removesuffix(";")))
    except NotConnected as error:
        if not isinstance(error.__cause__, psycopg.errors.QueryCanceled):
            raise
        # Fatal, because each repetition would lock the table for all.
        raise FatalConnectorError(
            f"table {options.schema_name}.{name} could not be given its columns and indexes within `timeout` "
            f"({options.timeout:g} s); run `{options.adopt_command(name)}` once"
        ) from error


async def _is_adopted(session: Runs, name: str, options: TableOptions) -> bool:
    """Whether nothing needs to be added. Also true if the table or its id is missing, which is reported elsewhere."""
    columns = await columns_of(session, name, options)
    if options.id not in columns or (options.visible is not None and options.visible not in columns):
        return True
    if not {options.hidden_until, options.lease_token, options.attempts, options.unended_calls} <= columns.keys():
        return False
    names = {"ready_index": _ready_index(name, options), "hidden_index": _hidden_index(name)}
    indexes = {parameter: _written(options, each) for parameter, each in names.items()}
    [[found]] = await session.run(statement("rows/adopted", {}), indexes)
    return bool(found == len(indexes))


def _ready_index(name: str, options: TableOptions) -> str:
    # With `visible` the index leaves out invisible rows, so it needs a name of its own.
    return index(name, "v" if options.visible else "r")


def _hidden_index(name: str) -> str:
    return index(name, "h")


def _written(options: TableOptions, name: str) -> str:
    return table(options.schema_name, name).as_string()
