"""Asks the server whether a queue can be used, in a session of its own. Creates nothing."""

from __future__ import annotations

import time

from psycopg import sql

from penstock.connectors import Probed
from penstock.errors import ConnectorError, FatalConnectorError
from penstock.options import Role
from penstock.probes import clock_answer
from penstock_postgres.message_table import MessageTable
from penstock_postgres.names import table
from penstock_postgres.options import PostgresOptions, TableOptions
from penstock_postgres.session import Session
from penstock_postgres.user_table import UserTable

_CLOCK = sql.SQL("SELECT extract(epoch FROM clock_timestamp())::float8")


async def probe(name: str, options: PostgresOptions | TableOptions, role: Role) -> list[Probed]:
    """See `Consumer.probe`.

    Args:
        name: The queue's `value`.
        options: Its options.
        role: What it is used for.
    """
    session = Session(options)
    try:
        await session.open()
        answers = [Probed("reachable", True, f"PostgreSQL at {session.address} answers")]
        answers += await _table(session, name, options, role)
        before = time.time()
        [[now]] = await session.run(_CLOCK)
        return [*answers, clock_answer(now, before, time.time())]
    finally:
        await session.close()


async def _table(session: Session, name: str, options: PostgresOptions | TableOptions, role: Role) -> list[Probed]:
    own = isinstance(options, PostgresOptions)
    names = (options.schema_name, options.table if isinstance(options, PostgresOptions) else name)
    shown = ".".join(names)
    there = sql.SQL("SELECT to_regclass({}) IS NOT NULL").format(table(*names).as_string())
    if list(await session.run(there)) != [(True,)]:
        if own and options.create:
            return [Probed("exists", True, f"table {shown} is created when a worker starts")]
        remedy = "run `penstock postgres migrate`, or set `create: true`" if own else "create it, or correct `value`"
        raise ConnectorError(f"PostgreSQL at {session.address}: there is no table {shown}; {remedy}")
    as_it_is = options.model_copy(update={"create": False})
    queue = UserTable(name, as_it_is) if isinstance(as_it_is, TableOptions) else MessageTable(name, as_it_is)
    try:
        await (queue.prepare_to_consume(session) if role == "input" else queue.prepare_to_produce(session))
    except FatalConnectorError as error:
        if not options.create:
            raise
        return [Probed("exists", None, f"{error}; a worker tries to bring the table up to date (create: true)")]
    return [
        Probed("authorised", True, "may read and settle" if role == "input" else "may write"),
        Probed("exists", True, f"table {shown} exists"),
    ]
