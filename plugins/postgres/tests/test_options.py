"""The options: what they accept, what they refuse and with which words, and that no password is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from penstock.options import fill_from_environment
from penstock_postgres.check import check
from penstock_postgres.options import PostgresOptions, ServerOptions, TableOptions

DSN = "postgresql://somebody:s3cret@db:5433/shop"


def refused(**values: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        PostgresOptions.model_validate({"dsn": DSN, **values})
    return str(caught.value)


def test_a_dsn_is_all_that_is_needed() -> None:
    """Everything else has a default that works."""
    options = PostgresOptions.model_validate({"dsn": DSN})

    assert (options.schema_name, options.table, options.lease) == ("public", "penstock_messages", 60.0)
    assert (options.create, options.notify) == (False, True)


def test_the_schema_is_written_as_schema() -> None:
    """Under its own name it would hide a method of pydantic's."""
    assert PostgresOptions.model_validate({"dsn": DSN, "schema": "queues"}).schema_name == "queues"


@pytest.mark.parametrize("variable", ["POSTGRES_DSN", "DATABASE_URL"])
def test_the_environment_names_the_server(variable: str) -> None:
    """POSTGRES_DSN and DATABASE_URL, the first that is set."""
    filled, origins = fill_from_environment(PostgresOptions, {}, "input", {variable: DSN})

    assert PostgresOptions.model_validate(filled).dsn.get_secret_value() == DSN
    assert origins == {"dsn": variable}


def test_without_a_server_the_error_names_the_variables() -> None:
    """The connector does not guess localhost."""
    with pytest.raises(ValidationError, match=r"POSTGRES_DSN \(or DATABASE_URL\).*dsn: postgresql://"):
        PostgresOptions.model_validate({})


def test_an_empty_dsn_leaves_everything_to_libpq() -> None:
    """PGHOST and its like, or a service file."""
    assert PostgresOptions.model_validate({"dsn": ""}).dsn.get_secret_value() == ""


@pytest.mark.parametrize(
    ("dsn", "said"),
    [
        ("postgresql+psycopg://s3cret@db/shop", "SQLAlchemy's way"),
        ("mysql://s3cret@db/shop", "must begin with postgresql://"),
        ("s3cret", "neither a URL"),
        ("postgresql://shop:s3cret/+9@db.example/shop", "%2F for '/'"),
        ("postgresql://shop:9@s3cret@db.example/shop", "%40 for '@'"),
        ("postgresql://shop:9/s3cret/@127.0.0.1:5432/shop?sslmode=require", "percent-encoded"),
        ("postgresql://shop:s3cret", "percent-encoded"),
        ("postgresql://shop:9?@s3cret@db/shop", "percent-encoded"),
        ("postgresql://[::1]@s3cret]/shop", "percent-encoded"),
    ],
)
def test_another_kind_of_dsn_is_refused_without_being_shown(dsn: str, said: str) -> None:
    """The sentence tells what to write."""
    text = refused(dsn=dsn)

    assert said in text
    assert "s3cret" not in text


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://",
        "postgres://db",
        "postgresql:///shop",
        "postgresql://db:5432/shop?sslmode=require&options=-c%20x%3D1",
        "postgresql://me:p%40ss%2Fw:rd?#[]@db-1.example:5432/a/b",
        "postgresql://me@a:1,b:2,[::1]:3/shop?target_session_attrs=primary",
        "postgresql://%2Fvar%2Frun%2Fpostgresql/shop",
        "postgresql:///shop?user=me@example&host=/var/run/postgresql",
        "postgresql://me:@127.0.0.1:/shop",
    ],
)
def test_every_url_that_libpq_understands_rightly_is_taken(dsn: str) -> None:
    """Sockets, several hosts, IPv6, an `@` where no host can be."""
    options = PostgresOptions.model_validate({"dsn": dsn})

    assert options.dsn.get_secret_value() == dsn
    assert check("orders", options, "input") == []


def test_no_password_in_a_repr() -> None:
    """Options end in logs."""
    assert "s3cret" not in repr(PostgresOptions.model_validate({"dsn": DSN}))


@pytest.mark.parametrize("name", ["messages; DROP TABLE users", 'a"b', "", "7up", "x" * 51, "ü"])
def test_a_table_has_a_plain_name(name: str) -> None:
    """Names are quoted wherever they are used; a name like these is a mistake all the same."""
    assert "is not a plain name" in refused(table=name)


@pytest.mark.parametrize("values", [{"lease": 0}, {"poll_interval": 0}, {"timeout": 0}, {"leese": 5}])
def test_impossible_values_and_unknown_keys_are_refused(values: dict[str, Any]) -> None:
    """At start, not at the first message."""
    assert next(iter(values)) in refused(**values)


def test_the_tables_own_columns_are_no_part_of_a_message() -> None:
    """Unless `columns` says so."""
    options = TableOptions.model_validate({"dsn": DSN, "visible": "visible", "id": "number"})

    assert options.own_columns == (
        "number",
        "visible",
        "penstock_hidden_until",
        "penstock_lease",
        "penstock_attempts",
        "penstock_unended_calls",
    )


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("orders", PostgresOptions.model_validate({"dsn": "postgresql://a:p%zz@db/x"}), ["percent-encoded"]),
        ("x" * 256, PostgresOptions.model_validate({"dsn": DSN}), ["at most 255 characters"]),
        ("a.b", TableOptions.model_validate({"dsn": DSN}), ["`value` names the table, `schema` its schema"]),
        ("orders", PostgresOptions.model_validate({"dsn": DSN}), []),
        ("queue with any text: ü", PostgresOptions.model_validate({"dsn": DSN}), []),
        ("orders", TableOptions.model_validate({"dsn": DSN}), []),
    ],
)
def test_check_judges_without_a_server(name: str, options: ServerOptions, said: list[str]) -> None:
    """Names and the DSN's form; nothing is connected."""
    found = check(name, options, "input")

    assert len(found) == len(said)
    assert all(words in problem for words, problem in zip(said, found, strict=True))
    assert "p%zz" not in "".join(found)


def test_the_readme_has_every_option() -> None:
    """With what it means."""
    readme = (Path(__file__).parents[1] / "README.md").read_text()

    for model in (PostgresOptions, TableOptions):
        for name, field in model.model_fields.items():
            assert f"`{field.alias or name}`" in readme or f"    {name}:" in readme, name
