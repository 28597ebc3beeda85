"""Slots and publications: what is there, what is missing, and how much log a slot keeps on the server's disk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from psycopg import sql

from penstock.errors import FatalConnectorError
from penstock_postgres.options import ChangesOptions
from penstock_postgres.pgoutput import Kinds, Lsn
from penstock_postgres.session import Session

_SLOT = sql.SQL(
    "SELECT plugin, database = current_database(), active_pid, (confirmed_flush_lsn - '0/0')::bigint, wal_status, "
    "pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint, safe_wal_size "
    "FROM pg_replication_slots WHERE slot_name = {}"
)
_ABILITY = sql.SQL(
    "SELECT current_setting('wal_level'), current_user, "
    "(SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user)"
)
_PUBLISHED = sql.SQL("SELECT schemaname, tablename FROM pg_publication_tables WHERE pubname = {}")
# Tables of a publication of updates or deletes whose rows have no identity: their own UPDATE and DELETE fail.
_WITHOUT_IDENTITY = sql.SQL(
    "SELECT c.oid::regclass::text FROM pg_class c WHERE c.oid = ANY({}::regclass[]) AND (c.relreplident = 'n' OR "
    "(c.relreplident = 'd' AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)))"
)
_KINDS = sql.SQL(
    "SELECT oid::bigint, typbasetype::bigint, CASE WHEN typcategory = 'A' THEN typelem::bigint ELSE 0 END "
    "FROM pg_type WHERE typtype = 'd' OR typcategory = 'A'"
)
_END = sql.SQL(
    "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = {} AND active_pid = {}"
)

WITHIN = 2.0  # seconds for the server to end a connection, or to take a report in
PAUSE = 0.01  # seconds between two questions for a slot's state

log = logging.getLogger("penstock.postgres")


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot as it stands.

    Attributes:
        plugin: Its output plugin.
        is_here: Whether it is of this database.
        pid: The server's process that has it; None if nothing reads it.
        confirmed: What was settled by its readers.
        state: "reserved", "extended", "unreserved" or "lost"; see PostgreSQL's `wal_status`.
        retained: Bytes of log that the server keeps for it.
        left: Bytes until the server drops log that it needs; None without `max_slot_wal_keep_size`.
    """

    plugin: str | None
    is_here: bool | None
    pid: int | None
    confirmed: Lsn | None
    state: str | None
    retained: int | None
    left: int | None


async def find(session: Session, name: str) -> Slot | None:
    """The slot of this name; None if there is none."""
    rows = await session.run(_SLOT.format(sql.Literal(name)))
    return Slot(*rows[0]) if rows else None


def check(slot: Slot, name: str, address: str) -> None:
    """Reject a slot that cannot be read.

    Raises:
        FatalConnectorError: it is another kind of slot, or lost what it needs.
    """
    if slot.plugin != "pgoutput" or not slot.is_here:
        raise FatalConnectorError(
            f"PostgreSQL at {address}: the replication slot {name!r} is of another plugin or database; "
            "name another slot"
        )
    if slot.state == "lost":
        raise FatalConnectorError(
            f"PostgreSQL at {address}: the replication slot {name!r} is lost: it kept more log than "
            f"max_slot_wal_keep_size allows, or was unused for too long, and changes are gone. Drop it (SELECT "
            f"pg_drop_replication_slot('{name}')), and start again with `create: true` and `snapshot: true`"
        )


async def prepare(session: Session, name: str, options: ChangesOptions, *, known: bool) -> Slot | None:
    """Check that the database can send changes, and make what is missing and asked for.

    Args:
        session: An ordinary session.
        name: The slot's name.
        options: The queue's options.
        known: The slot was there before: it is not made anew in silence.

    Returns:
        The slot; None if it is to be made after a snapshot.

    Raises:
        FatalConnectorError: something is missing that a person has to make.
    """
    place = f"PostgreSQL at {session.address}"
    [[level, user, may_replicate]] = await session.run(_ABILITY)
    if level != "logical":
        raise FatalConnectorError(
            f"{place}: wal_level is {level!r}; set `wal_level = logical` in its configuration and restart it, or read "
            f"the table with the connector postgres.poll"
        )
    if not may_replicate:
        raise FatalConnectorError(
            f"{place}: the role {user!r} may not replicate; ALTER ROLE {user} REPLICATION, or read the table with the "
            f"connector postgres.poll"
        )
    await _publish(session, options.publication or name, options)
    slot = await find(session, name)
    if slot is not None:
        check(slot, name, str(session.address))
        return slot
    if known:
        raise FatalConnectorError(
            f"{place}: the replication slot {name!r} is gone (dropped, or another server answers, which has none), and "
            f"with it the changes since then; start again with `create: true` and `snapshot: true`"
        )
    if not options.create:
        raise FatalConnectorError(
            f"{place}: there is no replication slot {name!r}; set `create: true`, or SELECT "
            f"pg_create_logical_replication_slot('{name}', 'pgoutput')"
        )
    if not options.snapshot:
        make = sql.SQL("SELECT pg_create_logical_replication_slot({}, 'pgoutput')")
        await session.run(make.format(sql.Literal(name)))
        log.info("%s: made the replication slot %r, which keeps log from now on", place, name)
    return await find(session, name)


async def _publish(session: Session, publication: str, options: ChangesOptions) -> None:
    place = f"PostgreSQL at {session.address}"
    exists = sql.SQL("SELECT puballtables, pubupdate OR pubdelete FROM pg_publication WHERE pubname = {}")
    found = await session.run(exists.format(sql.Literal(publication)))
    wanted = [options.qualified(table) for table in options.tables]
    if not found:
        if not options.create:
            raise FatalConnectorError(
                f"{place}: there is no publication {publication!r}; set `create: true`, or CREATE PUBLICATION "
                f'"{publication}" FOR TABLE …'
            )
        if without := await _without_identity(session, wanted):
            raise FatalConnectorError(
                f"{place}: {', '.join(without)} has no replica identity, so its UPDATE and DELETE would fail once it "
                f"is published; give it a primary key, or ALTER TABLE … REPLICA IDENTITY FULL"
            )
        tables = sql.SQL(" FOR TABLE {}").format(sql.SQL(", ").join(sql.Identifier(*each) for each in wanted))
        make = sql.SQL("CREATE PUBLICATION {}").format(sql.Identifier(publication))
        await session.run(make + tables if wanted else make)
        return
    published = [(schema, table) for schema, table in await session.run(_PUBLISHED.format(sql.Literal(publication)))]
    if missing := [".".join(each) for each in wanted if each not in published]:
        raise FatalConnectorError(
            f"{place}: the publication {publication!r} has no {', '.join(missing)}; add it (ALTER PUBLICATION … ADD "
            f"TABLE …), or correct `tables`"
        )
    if found[0][1] and (without := await _without_identity(session, published)):
        log.warning(
            "%s: UPDATE and DELETE of %s fail, because the publication %r has it and it has no replica identity; "
            "give it a primary key, or ALTER TABLE … REPLICA IDENTITY FULL",
            place, ", ".join(without), publication,
        )  # fmt: skip


async def _without_identity(session: Session, tables: Sequence[tuple[str, str]]) -> list[str]:
    names = [sql.Identifier(*each).as_string() for each in tables]
    return [name for [name] in await session.run(_WITHOUT_IDENTITY.format(sql.Literal(names)))]


async def kinds(session: Session) -> Kinds:
    """The domains and arrays of the database."""
    rows = await session.run(_KINDS)
    return Kinds({oid: base for oid, base, _ in rows if base}, {oid: element for oid, _, element in rows if element})


async def free(session: Session, name: str, pid: int) -> None:
    """End the server's process `pid` if it has the slot, and wait until it has not."""
    end, deadline = _END.format(sql.Literal(name), sql.Literal(pid)), monotonic() + WITHIN
    while monotonic() < deadline and await session.run(end):  # noqa: ASYNC110  (the server does not tell)
        await asyncio.sleep(PAUSE)


async def wait_for(session: Session, name: str, confirmed: Lsn) -> None:
    """Wait until the server has taken a report in."""
    deadline = monotonic() + WITHIN
    while monotonic() < deadline:
        slot = await find(session, name)
        if slot is None or (slot.confirmed or 0) >= confirmed:
            return
        await asyncio.sleep(PAUSE)
