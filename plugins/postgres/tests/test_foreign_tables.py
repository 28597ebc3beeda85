"""Tables of users, not made for Penstock: names, types, triggers, half-made indexes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from penstock.errors import FatalConnectorError, NotConnected
from penstock.message import Record

Sql = Callable[..., list[tuple[Any, ...]]]
Consumed = Callable[..., Any]

SPLENDID = '50%s off {now}; "really"'
LONG = "a_table_whose_name_is_as_long_as_postgresql_allows_a_name_to_be"


def content(message: Any) -> Any:
    return json.loads(message.message)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def refused(opener: Any, table: str = "jobs", **options: Any) -> str:
    """What is said when it cannot be consumed from."""

    async def main() -> None:
        async with opener.table_consumer(table, **options):
            raise AssertionError("it connected")

    with pytest.raises(FatalConnectorError) as caught:
        asyncio.run(main())
    return str(caught.value)


@pytest.mark.parametrize("name", [SPLENDID, "Order Items", "größe-%(limit)s", LONG])
def test_tables_and_columns_have_any_name(opener: Any, consumed: Consumed, sql: Sql, name: str) -> None:
    """Quoted, and never taken for a parameter: claimed, extended, requeued, settled, produced to, counted."""
    shown = quoted(name.replace("%", "%%"))  # psycopg takes it for a parameter in a test as well
    flag = "Q " + name[:60]
    sql(f"CREATE TABLE {quoted(name)} ({quoted(name)} bigint PRIMARY KEY, {quoted(flag)} boolean DEFAULT true)")

    async def main() -> None:
        options = {"id": name, "visible": flag, "create": True}
        async with (
            opener.table_producer(name, columns={name: name}) as producer,
            opener.table_consumer(name, **options) as consumer,
        ):
            assert not any(await producer.produce([Record(json.dumps({name: number}).encode()) for number in (1, 2)]))
            assert await consumer.lag() == 2
            messages = await consumed(consumer, 2)
            assert [content(message) for message in messages] == [{name: 1}, {name: 2}]
            await consumer.extend(messages)
            assert consumer.lost_leases == 0
            await consumer.on_fail(messages[1:])
            assert await consumer.on_success([*messages[:1], *await consumed(consumer, 1)]) == 0

    asyncio.run(main())
    assert sql(f"SELECT count(*) FROM {shown} WHERE %s", True) == [(0,)]
    [[indexes]] = sql("SELECT count(*) FROM pg_indexes WHERE tablename = %s AND schemaname = current_schema()", name)
    assert indexes == 3


@pytest.mark.parametrize("type_", ["integer", "text", "jsonb", "integer[]"])
def test_no_name_is_one_of_our_own(opener: Any, consumed: Consumed, sql: Sql, type_: str) -> None:
    """What our statements call their parts, columns may be called, too."""
    names = ["r", "t", "b", "ours", "taken", "claimed", "body", "place", "row_id", "tries", "token", "due", "woken"]
    sql(f"CREATE TABLE jobs (id bigint PRIMARY KEY, {', '.join(f'{name} {type_}' for name in names)})")
    value = {"integer": 7, "text": "7", "jsonb": {"r": 7}, "integer[]": [7]}[type_]
    expected = {"id": 1, **dict.fromkeys(names, value)}

    async def main() -> None:
        async with (
            opener.table_producer("jobs") as producer,
            opener.table_consumer("jobs", create=True) as consumer,
            opener.table_consumer("jobs", columns={"r": "r"}) as narrow,
        ):
            assert not any(await producer.produce([Record(json.dumps(expected).encode())]))
            messages = await consumed(consumer, 1)
            assert [content(message) for message in messages] == [expected]
            await consumer.extend(messages)
            await consumer.on_fail(messages)
            messages = await consumed(narrow, 1)
            assert [content(message) for message in messages] == [{"r": value}]
            assert await narrow.on_success(messages) == 0

    asyncio.run(main())


def test_a_field_may_have_a_name_that_no_column_has(opener: Any, consumed: Consumed, sql: Sql) -> None:
    """The names in messages are the sender's."""
    sql("CREATE TABLE jobs (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, share integer)")
    options = {"columns": {"share in %": "share"}}

    async def main() -> None:
        async with opener.table_producer("jobs", **options) as producer:
            assert not any(await producer.produce([Record(b'{"share in %": 7}')]))
        async with opener.table_consumer("jobs", create=True, **options) as consumer:
            assert [content(message) for message in await consumed(consumer, 1)] == [{"share in %": 7}]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("bytea", "'\\xff00'"),
        ("text", "''"),
        ("timestamptz", "'infinity'"),
        ("date", "'0044-03-15 BC'"),
        ("numeric", "'NaN'"),
        ("float8", "0.1::float8 + 0.2"),
        ("interval", "'1 month -1 day 00:00:00.5'"),
        ("int4range", "'[1,5)'"),
        ("char(8)", "'x'"),
    ],
)
def test_an_id_need_not_be_one_that_python_knows(
    opener: Any, consumed: Consumed, sql: Sql, type_: str, value: str
) -> None:
    """It stays text, as the database writes it: extended, requeued and settled all the same."""
    sql(f"CREATE TABLE jobs (id {type_} PRIMARY KEY)")
    sql(f"INSERT INTO jobs VALUES ({value})")

    async def main() -> None:
        async with opener.table_consumer("jobs", create=True) as consumer:
            messages = await consumed(consumer, 1)
            await consumer.extend(messages)
            assert consumer.lost_leases == 0
            await consumer.on_fail(messages)
            again = await consumed(consumer, 1)
            assert again[0].attempts == 2
            assert await consumer.on_success(again) == 0

    asyncio.run(main())


def test_values_of_every_kind_come_as_json(opener: Any, consumed: Consumed, sql: Sql) -> None:
    """What JSON has, as that; NULL as null; the rest as text."""
    sql(
        "CREATE TABLE jobs (id bigint PRIMARY KEY, document jsonb, list integer[], raw bytea, at timestamptz, big "
        "numeric, half float8 GENERATED ALWAYS AS (id / 2.0) STORED, nothing text)"
    )
    sql("""INSERT INTO jobs VALUES (1, '{"a": [1, "ü"]}', '{1,2}', '\\xff', 'infinity', 12345678901234567890.5)""")

    async def main() -> None:
        async with opener.table_consumer("jobs", create=True) as consumer:
            [message] = await consumed(consumer, 1)
            assert json.loads(message.message, parse_float=str) == {
                "id": 1,
                "document": {"a": [1, "ü"]},
                "list": [1, 2],
                "raw": "\\xff",
                "at": "infinity",
                "big": "12345678901234567890.5",
                "half": "0.5",
                "nothing": None,
            }

    asyncio.run(main())


def test_what_comes_out_goes_in_again(opener: Any, consumed: Consumed, sql: Sql) -> None:
    """Objects, lists, text, null: a row that is copied is the same row."""
    shape = "(id bigint PRIMARY KEY, document jsonb, plain json, list integer[], raw bytea, at timestamptz, t text)"
    sql(f"CREATE TABLE jobs {shape}")
    sql(f"CREATE TABLE copies {shape}")
    sql("""INSERT INTO jobs VALUES (1, '{"a": [1, "ü"]}', '[1]', '{1,NULL}', '\\x00ff', now(), 'a ''b')""")
    sql("INSERT INTO jobs (id) VALUES (2)")

    async def main() -> None:
        async with (
            opener.table_consumer("jobs", create=True) as consumer,
            opener.table_producer("copies") as producer,
        ):
            messages = await consumed(consumer, 2)
            assert not any(await producer.produce([Record(message.message) for message in messages]))

    asyncio.run(main())
    columns = "id, document, plain::text, list, raw, at, t"
    assert sql(f"SELECT {columns} FROM copies ORDER BY id") == sql(f"SELECT {columns} FROM jobs ORDER BY id")


@pytest.mark.parametrize(
    "body",
    [
        '{"id": 2}'.encode("utf-16"),
        '{"id": 2}'.encode("utf-16-le"),
        '{"id": 2}'.encode("utf-8-sig"),
        b'{"id": 2, "id": "x"}',
        b'{"id": NaN}',
        b'{"id": 1e999}',
        b'{"id": 2, "note": "\\ud800"}',
        b'{"id": 2, "note": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"id": 2, "i\\u0000d": 2}',
        b'{"id": null}',
        b"",
    ],
)
def test_no_body_stops_the_producer(opener: Any, sql: Sql, body: bytes) -> None:
    """Each is refused for good, and its neighbour is stored."""
    sql("CREATE TABLE jobs (id bigint PRIMARY KEY, note text)")

    async def main() -> None:
        async with opener.table_producer("jobs") as producer:
            bad, good = await producer.produce([Record(body), Record(b'{"id": 1}')])
            assert good is None
            assert not bad.retriable

    asyncio.run(main())
    assert sql("SELECT id FROM jobs") == [(1,)]


def test_what_a_trigger_refuses_is_a_record_that_is_refused(opener: Any, sql: Sql) -> None:
    """With its place, and without its text, which may quote the row."""
    sql("CREATE TABLE jobs (id bigint PRIMARY KEY)")
    sql("""
        CREATE FUNCTION judge() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.id = 13 THEN RAISE EXCEPTION 'we do not like %', NEW.id; END IF;
            IF NEW.id = 14 THEN RAISE EXCEPTION 'too many notifications in the NOTIFY queue' USING ERRCODE = '54000';
            END IF;
            RETURN NEW;
        END $$
    """)
    sql("CREATE TRIGGER judge BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION judge()")

    async def main() -> None:
        async with opener.table_producer("jobs") as producer:
            first, bad, last = await producer.produce([Record(b'{"id": %d}' % number) for number in (12, 13, 15)])
            assert (first, last) == (None, None)
            assert not bad.retriable
            assert "a trigger or function" in str(bad)
            assert "13" not in str(bad).partition("a trigger")[2]
            # The same code as that of a row that is too large; but this one will fit when the listeners have read.
            with pytest.raises(NotConnected, match="NOTIFY"):
                await producer.produce([Record(b'{"id": 14}')])

    asyncio.run(main())
    assert sql("SELECT id FROM jobs ORDER BY id") == [(12,), (15,)]


@pytest.mark.parametrize("code", ["PT403", "42501", "45000", "55000", "23514", "check_violation"])
def test_a_trigger_refuses_with_any_code(opener: Any, sql: Sql, code: str) -> None:
    """It is about the row, whatever the code means elsewhere; and its text, which may quote the row, is not told."""
    sql("CREATE TABLE jobs (id bigint PRIMARY KEY)")
    sql(f"""
        CREATE FUNCTION judge() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.id = 13 THEN RAISE EXCEPTION 'we do not like %', NEW.id USING ERRCODE = '{code}'; END IF;
            RETURN NEW;
        END $$
    """)
    sql("CREATE TRIGGER judge BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION judge()")

    async def main() -> None:
        async with opener.table_producer("jobs") as producer:
            first, bad, last = await producer.produce([Record(b'{"id": %d}' % number) for number in (12, 13, 14)])
            assert (first, last) == (None, None)
            assert not bad.retriable
            assert "a trigger or function of the database raised an exception" in str(bad)
            assert "we do not like" not in str(bad)

    asyncio.run(main())
    assert sql("SELECT id FROM jobs ORDER BY id") == [(12,), (14,)]


def test_a_row_that_a_policy_forbids_is_refused_alone(opener: Any, sql: Sql, dsn: str, schema: str) -> None:
    """Row-level security has the code of a missing privilege, which stops an engine."""
    role = f"tenant_{schema}_{dsn.rpartition('/')[2]}"
    sql(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    sql("CREATE TABLE jobs (id bigint PRIMARY KEY, tenant integer)")
    sql("ALTER TABLE jobs ENABLE ROW LEVEL SECURITY")
    sql("CREATE POLICY own ON jobs USING (true) WITH CHECK (tenant = 1)")
    sql(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
    sql(f"GRANT INSERT ON jobs TO {role}")

    async def main() -> None:
        async with opener.table_producer("jobs", dsn=dsn.replace("postgres@", f"{role}:x@")) as producer:
            stored, bad = await producer.produce([Record(b'{"id": 1, "tenant": 1}'), Record(b'{"id": 2, "tenant": 2}')])
            assert stored is None
            assert not bad.retriable
            assert "row-level security" in str(bad)
            sql(f"REVOKE INSERT ON jobs FROM {role}")
            with pytest.raises(FatalConnectorError, match="permission denied"):
                await producer.produce([Record(b'{"id": 3, "tenant": 1}')])

    asyncio.run(main())


def test_a_column_that_the_database_fills_is_read_and_not_written(opener: Any, consumed: Consumed, sql: Sql) -> None:
    """Also when `columns`, which may serve both sides, names it."""
    sql("CREATE TABLE jobs (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n integer)")
    columns = {"number": "id", "n": "n"}

    async def main() -> None:
        async with opener.table_producer("jobs", columns=columns) as producer:
            stored, bad = await producer.produce([Record(b'{"n": 1}'), Record(b'{"number": 5, "n": 2}')])
            assert stored is None
            assert "has no column for 'number', only for n" in str(bad)
        async with opener.table_consumer("jobs", columns=columns, create=True) as consumer:
            assert [content(message) for message in await consumed(consumer, 1)] == [{"number": 1, "n": 1}]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        ("id bigint UNIQUE", "must be unique and NOT NULL"),
        ("id bigint PRIMARY KEY, penstock_hidden_until timestamp", "'penstock_hidden_until' is timestamp without"),
        ("id bigint PRIMARY KEY, penstock_attempts text", "'penstock_attempts' is text, and must be integer"),
        ("id bigint PRIMARY KEY, penstock_lease text", "'penstock_lease' is text, and must be uuid"),
        ("number bigint PRIMARY KEY", "has no column 'id'; it has number"),
    ],
)
def test_columns_that_will_not_do_are_named(opener: Any, sql: Sql, definition: str, said: str) -> None:
    """Before a row is lost to them: one without an id would wait for ever, one with a local time for hours."""
    sql(f"CREATE TABLE jobs ({definition})")

    assert said in refused(opener, create=True)


def test_a_unique_index_that_is_not_valid_is_none(opener: Any, sql: Sql) -> None:
    """CREATE INDEX CONCURRENTLY leaves one behind when it meets two equal rows."""
    sql("CREATE TABLE jobs (id bigint NOT NULL)")
    sql("INSERT INTO jobs VALUES (1), (1)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        sql("CREATE UNIQUE INDEX CONCURRENTLY ON jobs (id)")

    assert "must be unique" in refused(opener, create=True)


def test_a_table_that_others_inherit_from_is_refused(opener: Any, sql: Sql) -> None:
    """A row of theirs shows in it and may have the same id: settling one would delete both."""
    sql("CREATE TABLE jobs (id bigint PRIMARY KEY)")
    sql("CREATE TABLE old_jobs () INHERITS (jobs)")

    assert "other tables inherit from table" in refused(opener, create=True)


def test_a_partitioned_table_is_a_table(opener: Any, consumed: Consumed, sql: Sql) -> None:
    """Its partitions share its keys."""
    sql("CREATE TABLE jobs (id bigint PRIMARY KEY) PARTITION BY HASH (id)")
    for number in (0, 1):
        sql(f"CREATE TABLE jobs_{number} PARTITION OF jobs FOR VALUES WITH (MODULUS 2, REMAINDER {number})")
    sql("INSERT INTO jobs SELECT generate_series(1, 10)")

    async def main() -> None:
        async with opener.table_consumer("jobs", create=True) as consumer:
            assert await consumer.on_success((await consumed(consumer, 10))[:4]) == 0

    asyncio.run(main())
    assert sql("SELECT count(*) FROM jobs") == [(6,)]


def test_what_is_invisible_is_not_in_the_way_of_a_claim(opener: Any, sql: Sql) -> None:
    """Other programs may keep a hundred thousand such rows; the index for claims has none of them."""
    sql("CREATE TABLE jobs (id bigint PRIMARY KEY, visible boolean NOT NULL)")

    async def main() -> None:
        async with opener.table_consumer("jobs", create=True, visible="visible") as consumer:
            sql("INSERT INTO jobs SELECT n, false FROM generate_series(1, 5000) AS n")
            await consumer.consume(1, 0)
            run = consumer._claims.session.run
            statement = "SELECT name FROM pg_prepared_statements WHERE statement LIKE 'WITH taken%'"
            [[name]] = await run(psycopg.sql.SQL(statement))
            explain = psycopg.sql.SQL("EXPLAIN EXECUTE {} (10, 1.0, NULL)").format(psycopg.sql.Identifier(name))
            assert "Index Scan using jobs_penstock_v" in "".join(line for (line,) in await run(explain))

    asyncio.run(main())
    assert sql("SELECT pg_relation_size('jobs_penstock_v') < 20000") == [(True,)]


def test_a_count_of_attempts_that_may_be_null_begins_with_one(opener: Any, consumed: Consumed, sql: Sql) -> None:
    """Other programs insert rows without it."""
    sql("CREATE TABLE jobs (id bigint PRIMARY KEY, penstock_attempts smallint)")
    sql("INSERT INTO jobs VALUES (1)")

    async def main() -> None:
        async with opener.table_consumer("jobs", create=True) as consumer:
            assert [message.attempts for message in await consumed(consumer, 1)] == [1]

    asyncio.run(main())


def test_several_that_adopt_at_once_do_not_collide(opener: Any, sql: Sql) -> None:
    """The first adds what is missing, the others find it there."""
    sql("CREATE TABLE jobs (id bigint PRIMARY KEY)")

    async def main() -> None:
        async def one() -> None:
            async with opener.table_consumer("jobs", create=True):
                pass

        await asyncio.gather(*(one() for _ in range(8)))

    asyncio.run(main())
    assert sql("SELECT count(*) FROM pg_indexes WHERE tablename = 'jobs' AND schemaname = current_schema()") == [(3,)]


def test_an_index_that_is_missing_is_added_to_columns_that_are_there(opener: Any, sql: Sql) -> None:
    """Without it each claim would sort the whole table."""
    sql("CREATE TABLE jobs (id bigint PRIMARY KEY)")

    async def main() -> None:
        async with opener.table_consumer("jobs", create=True):
            sql("DROP INDEX jobs_penstock_r")
        async with opener.table_consumer("jobs", create=True):
            pass

    asyncio.run(main())
    assert sql("SELECT to_regclass('jobs_penstock_r') IS NOT NULL") == [(True,)]


def test_a_table_that_cannot_be_adopted_in_time_is_left_alone(opener: Any, sql: Sql, dsn: str, schema: str) -> None:
    """Trying again and again would lock it for everybody each time."""
    sql("CREATE TABLE jobs (id bigint PRIMARY KEY)")
    with psycopg.connect(dsn) as reader:
        reader.execute(f"SELECT * FROM {schema}.jobs")
        said = refused(opener, create=True, timeout=0.5)

    assert f"within `timeout` (0.5 s); run `penstock postgres adopt jobs --schema {schema}` once" in said
    assert sql("SELECT count(*) FROM pg_attribute WHERE attrelid = 'jobs'::regclass AND attnum > 0") == [(1,)]


def test_after_a_loss_the_table_is_looked_at_anew(opener: Any, consumed: Consumed, sql: Sql) -> None:
    """It may have got another column meanwhile, and another type for one it had."""
    sql("CREATE TABLE jobs (id smallint PRIMARY KEY)")

    async def main() -> None:
        async with opener.table_consumer("jobs", create=True) as consumer:
            sql("ALTER TABLE jobs ALTER id TYPE bigint, ADD n text DEFAULT 'new'")
            sql("INSERT INTO jobs VALUES (5000000000)")
            sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'penstock' AND datname = current_database()"
            )
            await consumer.connect()
            messages = await consumed(consumer, 1)
            assert content(messages[0]) == {"id": 5_000_000_000, "n": "new"}
            assert await consumer.on_success(messages) == 0

    asyncio.run(main())
