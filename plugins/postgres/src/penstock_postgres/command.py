"""`penstock postgres`: prepares a database. Its user must be allowed to create tables."""

from __future__ import annotations

import asyncio
import os
from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable

from pydantic import ValidationError

from penstock.errors import ConfigError

_COLUMNS = {
    "id": "its unique column (default: id)",
    "visible": "its boolean that is true while a row waits, if it has one",
    "hidden_until": "the time at which a lease ends",
    "lease_token": "the token of a lease",
    "attempts": "how often a row was delivered",
    "unended_calls": "how many recorded calls of a row never ended",
}

TIMEOUT = 3600.0  # seconds; an index on a large table takes long


class PostgresCommand:
    """The command that this plugin adds."""

    @staticmethod
    def configure(parser: ArgumentParser) -> None:
        """Add the arguments of `penstock postgres`."""
        actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
        migrate = actions.add_parser("migrate", help="create the table of messages, or bring it up to date")
        migrate.add_argument("--table", default="penstock_messages", help="its name (default: %(default)s)")
        adopt = actions.add_parser(
            "adopt", help="add to a table of yours the columns and indexes that a consumer needs"
        )
        adopt.add_argument("table", help="its name")
        for option, words in _COLUMNS.items():
            adopt.add_argument(
                f"--{option.replace('_', '-')}", metavar="COLUMN", help=f"{words}, as in the queue's config"
            )
        for each in (migrate, adopt):
            each.add_argument("--schema", default="public", help="the table's schema (default: %(default)s)")
            each.add_argument(
                "--dsn",
                help="the database (default: POSTGRES_DSN or DATABASE_URL); process lists show an argument",
            )

    @staticmethod
    def run(arguments: Namespace) -> int:
        """Prepare the database, and print what was done."""
        action = {"migrate": _migrate, "adopt": _adopt}[arguments.action]
        print(asyncio.run(_with_options(arguments, action)))  # noqa: T201  (the output of a command)
        return 0


async def _with_options(arguments: Namespace, action: Callable[[Namespace, str], Awaitable[str]]) -> str:
    dsn = arguments.dsn if arguments.dsn is not None else _dsn_from_environment()
    if dsn is None:
        raise ConfigError("no database is given; write --dsn, or set POSTGRES_DSN or DATABASE_URL")
    try:
        return await action(arguments, dsn)
    except ValidationError as error:
        # The input may hold a password, so it is left out.
        texts = [
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors(include_input=False)
        ]
        raise ConfigError(*texts) from None


def _dsn_from_environment() -> str | None:
    return os.environ.get("POSTGRES_DSN") or os.environ.get("DATABASE_URL")


async def _migrate(arguments: Namespace, dsn: str) -> str:
    from penstock_postgres import schema
    from penstock_postgres.options import PostgresOptions
    from penstock_postgres.session import Session

    options = PostgresOptions.model_validate(
        {"dsn": dsn, "schema": arguments.schema, "table": arguments.table, "timeout": TIMEOUT}
    )
    connection = Session(options)
    try:
        await connection.open()
        done = await schema.migrate(connection, options.schema_name, options.table)
    finally:
        await connection.close()
    state = f"brought to version {done[-1]}" if done else f"up to date (version {schema.latest_version()})"
    return f"{options.schema_name}.{options.table} at {connection.address}: {state}"


async def _adopt(arguments: Namespace, dsn: str) -> str:
    from penstock_postgres.check import table_problems
    from penstock_postgres.options import COLUMN_OPTIONS, TableOptions
    from penstock_postgres.session import Session
    from penstock_postgres.table_columns import adopt, columns_of

    given = {option: name for option in COLUMN_OPTIONS if (name := getattr(arguments, option)) is not None}
    options = TableOptions.model_validate({"dsn": dsn, "schema": arguments.schema, "timeout": TIMEOUT, **given})
    name = arguments.table
    if problems := table_problems(name):
        raise ConfigError(*problems)
    connection = Session(options)
    try:
        await connection.open()
        before = await columns_of(connection, name, options)
        if not before:
            raise ConfigError(f"there is no table {options.schema_name}.{name} at {connection.address}")
        for option in ("id", "visible"):
            column = getattr(options, option)
            if column is not None and column not in before:
                raise ConfigError(
                    f"table {options.schema_name}.{name} has no column {column!r}; name the right one with --{option}"
                )
        await adopt(connection, name, options)
        after = await columns_of(connection, name, options)
    finally:
        await connection.close()
    added = [column for column in after if column not in before]
    state = f"added {', '.join(added)}" if added else "needs no change"
    return f"{options.schema_name}.{name} at {connection.address}: {state}"
