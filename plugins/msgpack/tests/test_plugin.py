"""What the plugin offers, and what it costs to look."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

from penstock.hookspecs import PLUGIN_API
from penstock.serializers import Serializer
from penstock_msgpack import plugin
from penstock_msgpack.serializer import MsgpackSerializer


def test_it_is_found_by_its_entry_point() -> None:
    """In the group that Penstock scans, under its short name, for this version of the hooks."""
    (found,) = entry_points(group="penstock", name="msgpack")

    assert found.load() is plugin
    assert plugin.PLUGIN_API == PLUGIN_API


def test_it_offers_one_serializer() -> None:
    """By an import string that leads to the class; the format's name is the one that model handlers know."""
    (spec,) = plugin.penstock_serializers()

    assert (spec.name, spec.target) == ("msgpack", f"{MsgpackSerializer.__module__}:{MsgpackSerializer.__qualname__}")
    assert issubclass(MsgpackSerializer, Serializer)
    assert MsgpackSerializer.format == "msgpack"


def test_listing_does_not_import_the_library() -> None:
    """A listing of plugins loads the specs alone."""
    program = "import sys, penstock_msgpack.plugin as p; p.penstock_serializers(); assert 'msgpack' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
