"""What the distribution offers, and that offering it costs no import of a client library."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points

import pytest

from penstock import Engine
from penstock.connectors import Consumer, Producer
from penstock.errors import ConfigError
from penstock.options import ConnectorOptions
from penstock_postgres import plugin


def resolved(target: str | None) -> object:
    assert target is not None
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def test_the_entry_point_leads_to_the_plugin() -> None:
    """Group penstock, name postgres."""
    (found,) = entry_points(group="penstock", name="postgres")

    assert found.load() is plugin


def test_every_import_string_leads_to_what_it_says() -> None:
    """Consumers, producers, options, check and command exist under their strings."""
    for spec in plugin.penstock_connectors():
        for target, kind in (
            (spec.consumer, Consumer),
            (spec.producer, Producer),
            (spec.options, ConnectorOptions),
        ):
            if target is None:
                assert (spec.name, kind) in {("postgres.changes", Producer), ("postgres.poll", Producer)}
                continue
            found = resolved(target)
            assert isinstance(found, type)
            assert issubclass(found, kind)
        assert callable(resolved(spec.check))
    (command,) = plugin.penstock_commands()
    assert all(hasattr(resolved(command.target), name) for name in ("configure", "run"))


def test_the_profile_for_dead_letters_passes_raw_bytes() -> None:
    """What did not parse is stored as it came."""
    profiles = {profile.name: profile for profile in plugin.penstock_profiles()}

    standard = {"postgres", "postgres-pydantic", "postgres-batch", "postgres-dlq"}
    assert set(profiles) == standard | {"postgres-table", "postgres-changes", "postgres-poll"}
    assert profiles["postgres"].serializer == "json"
    dlq = profiles["postgres-dlq"]
    assert (dlq.serializer, dlq.model_handler, dlq.data_model) == (None, None, None)


def test_a_table_is_refused_as_a_dead_letter_queue() -> None:
    """Its rows have no place for whatever came, nor for why; nothing is connected to find that out."""
    dsn = "postgresql://nobody@127.0.0.1:1/none"
    queues = {name: {"connector": "postgres.table", "config": {"dsn": dsn}} for name in ("orders", "rejects")}
    app = Engine("orders", dead_letter_queue="rejects", queue_config={"queues": queues}, metrics_port=None)

    @app.stream_app
    def function(_order: object) -> None: ...

    with pytest.raises(ConfigError, match="dead_letter_queue='rejects' does not take every message"):
        app.run()


def test_listing_and_options_import_no_client_library() -> None:
    """`penstock plugins`, and the help of the command, must not pay for psycopg."""
    code = (
        "import argparse, sys, penstock_postgres.plugin as p, penstock_postgres.options, penstock_postgres.check;"
        "import penstock_postgres.command as c;"
        "p.penstock_connectors(); p.penstock_profiles(); p.penstock_commands();"
        "c.PostgresCommand.configure(argparse.ArgumentParser());"
        "print('psycopg' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "False"
