"""The columns of a table of the user's: what they are, and the three that consuming needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from psycopg import sql

from penstock_postgres.names import table
from penstock_postgres.options import LONGEST_NAME, TableOptions
from penstock_postgres.statements import Runs, statement


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: Its name.
        type: Its type, as SQL writes it.
        generated: The database fills it, and takes no value for it.
    """

    name: str
    type: str
    generated: bool


async def columns_of(connection: Runs, name: str, options: TableOptions) -> Mapping[str, Column]:
    """The columns of a table, by name and in its order; {} if there is no such table."""
    rows = await connection.run(statement("rows/columns", {}), {"table": _shown(name, options)})
    return {row[0]: Column(*row) for row in rows}


async def is_unique(connection: Runs, name: str, options: TableOptions) -> bool:
    """Whether no two rows can have the same id."""
    parameters = {"table": _shown(name, options), "id": options.id}
    [[indexes]] = await connection.run(statement("rows/unique", {}), parameters)
    return bool(indexes)


async def adopt(connection: Runs, name: str, options: TableOptions) -> None:
    """Add the columns and indexes that a table needs to be consumed from. What is there already is left as it is."""
    names = {
        "table": table(options.schema_name, name),
        "id": sql.Identifier(options.id),
        "hidden_until": sql.Identifier(options.hidden_until),
        "lease_token": sql.Identifier(options.lease_token),
        "attempts": sql.Identifier(options.attempts),
        "ready_index": sql.Identifier(f"{name[:LONGEST_NAME]}_penstock_r"),
        "hidden_index": sql.Identifier(f"{name[:LONGEST_NAME]}_penstock_h"),
    }
    present = await columns_of(connection, name, options)
    own = {options.hidden_until, options.lease_token, options.attempts}
    if not present or own <= present.keys():
        return  # no such table, which is told elsewhere, or nothing to do: no lock is taken for it
    for part in statement("rows/adopt", names).as_string().split(";\n"):
        await connection.run(sql.SQL(part.removesuffix(";")))


def _shown(name: str, options: TableOptions) -> str:
    return table(options.schema_name, name).as_string()
