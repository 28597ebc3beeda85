"""What the distribution offers, and that offering it costs no import of a client library."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points

from penstock.connectors import Consumer, Producer
from penstock.options import ConnectorOptions
from penstock_rsmq import plugin


def resolved(target: str | None) -> object:
    assert target is not None
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def test_the_entry_point_leads_to_the_plugin() -> None:
    """Group penstock, name rsmq."""
    (found,) = entry_points(group="penstock", name="rsmq")

    assert found.load() is plugin


def test_every_import_string_leads_to_what_it_says() -> None:
    """Consumer, producer, options and check exist under their strings."""
    (spec,) = plugin.penstock_connectors()

    for target, kind in ((spec.consumer, Consumer), (spec.producer, Producer), (spec.options, ConnectorOptions)):
        found = resolved(target)
        assert isinstance(found, type)
        assert issubclass(found, kind)
    assert callable(resolved(spec.check))


def test_the_profiles_of_the_reference_are_there() -> None:
    """The five names of py-volley, and one for lists; the one for dead letters passes raw bytes through."""
    profiles = {profile.name: profile for profile in plugin.penstock_profiles()}

    assert set(profiles) == {
        "rsmq",
        "rsmq-pydantic",
        "rsmq-orjson-pydantic",
        "rsmq-msgpack-pydantic",
        "rsmq-dlq",
        "rsmq-batch",
    }
    assert profiles["rsmq"].serializer == "json"
    assert profiles["rsmq-msgpack-pydantic"].serializer == "msgpack"
    dlq = profiles["rsmq-dlq"]
    assert (dlq.serializer, dlq.model_handler, dlq.data_model) == (None, None, None)


def test_listing_and_options_import_no_client_library() -> None:
    """`penstock plugins` and `penstock check` must not pay the 300 ms that redis takes to import."""
    code = (
        "import sys, penstock_rsmq.plugin as p, penstock_rsmq.options, penstock_rsmq.check;"
        "p.penstock_connectors(); p.penstock_profiles();"
        "print(sorted({'redis', 'rsmq'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "[]"
