"""What the plugin offers, and what it costs to look."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.metadata import entry_points

from penstock.connectors import Consumer, Producer
from penstock.hookspecs import PLUGIN_API
from penstock.options import ConnectorOptions
from penstock_memory import plugin


def _resolve(import_string: str | None) -> object:
    assert import_string is not None
    module, name = import_string.split(":")
    return getattr(importlib.import_module(module), name)


def test_it_is_found_by_its_entry_point() -> None:
    """In the group that Penstock scans, under its short name, for this version of the hooks."""
    (found,) = entry_points(group="penstock", name="memory")

    assert found.load() is plugin
    assert plugin.PLUGIN_API == PLUGIN_API


def test_every_import_string_leads_to_a_class_of_its_kind() -> None:
    """Consumer, producer and options."""
    (spec,) = plugin.penstock_connectors()

    assert spec.name == "memory"
    assert issubclass(_resolve(spec.consumer), Consumer)  # type: ignore[arg-type]
    assert issubclass(_resolve(spec.producer), Producer)  # type: ignore[arg-type]
    assert issubclass(_resolve(spec.options), ConnectorOptions)  # type: ignore[arg-type]


def test_the_profiles_are_json_models_and_raw_bytes() -> None:
    """`memory`, and `memory-dlq`, which changes no byte."""
    profiles = {profile.name: profile for profile in plugin.penstock_profiles()}
    assert set(profiles) == {"memory", "memory-pydantic", "memory-batch", "memory-dlq"}
    memory, dead_letters = profiles["memory"], profiles["memory-dlq"]

    assert (memory.name, memory.connector, memory.serializer, memory.model_handler) == (
        "memory",
        "memory",
        "json",
        "pydantic",
    )
    assert (dead_letters.name, dead_letters.connector) == ("memory-dlq", "memory")
    assert (dead_letters.serializer, dead_letters.model_handler, dead_letters.data_model) == (None, None, None)


def test_listing_imports_neither_event_loop_nor_options() -> None:
    """A listing of plugins loads the specs alone; a queue of this process needs no other process."""
    program = (
        "import sys, penstock_memory.plugin as p; p.penstock_connectors(); p.penstock_profiles();"
        "assert not {'asyncio', 'pydantic', 'penstock_memory.queue'} & set(sys.modules);"
        "import penstock_memory.consumer, penstock_memory.producer;"
        "assert not {'subprocess', 'multiprocessing.queues'} & set(sys.modules) - {'subprocess'}"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
