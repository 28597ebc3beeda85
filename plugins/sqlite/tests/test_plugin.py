"""What the plugin offers, and what it costs to look."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

from penstock.hookspecs import PLUGIN_API
from penstock_sqlite import plugin


def test_it_is_found_by_its_entry_point() -> None:
    """In the group that Penstock scans, under its short name, for this version of the hooks."""
    (found,) = entry_points(group="penstock", name="sqlite")

    assert found.load() is plugin
    assert plugin.PLUGIN_API == PLUGIN_API


def test_the_profiles_are_json_models_and_raw_bytes() -> None:
    """`sqlite`, and `sqlite-dlq`, which changes no byte."""
    profiles = {profile.name: profile for profile in plugin.penstock_profiles()}
    assert set(profiles) == {"sqlite", "sqlite-pydantic", "sqlite-batch", "sqlite-dlq"}
    models, dead_letters = profiles["sqlite"], profiles["sqlite-dlq"]

    assert (models.name, models.connector, models.serializer, models.model_handler) == (
        "sqlite",
        "sqlite",
        "json",
        "pydantic",
    )
    assert (dead_letters.name, dead_letters.connector) == ("sqlite-dlq", "sqlite")
    assert (dead_letters.serializer, dead_letters.model_handler, dead_letters.data_model) == (None, None, None)


def test_listing_imports_neither_sqlite_nor_options() -> None:
    """A listing of plugins loads the specs alone."""
    program = (
        "import sys, penstock_sqlite.plugin as p; p.penstock_connectors(); p.penstock_profiles();"
        "assert not {'sqlite3', 'pydantic', 'penstock_sqlite.options'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
